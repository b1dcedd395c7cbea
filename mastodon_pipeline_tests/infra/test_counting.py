"""When the demo requests a run: for hours that have landed, and are counted otherwise."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from infra import counting
from infra.counting import Counting
from infra.native_stack import StackError
from infra.simulated_fediverse import ServerHour, SimulatedFediverse
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record

BEFORE = HOUR - timedelta(hours=1)


class Published:
    """A Fediverse of one server, with a toot in each of these hours."""

    def __init__(self, *hours: datetime) -> None:
        self.hours = hours

    def truth(self) -> dict[ServerHour, int]:
        """Return how many toots were published."""
        return {(f"{hour:%Y-%m-%d-%H}", "one.example"): 1 for hour in self.hours}


class Requests:
    """Takes the place of Dagster."""

    def __init__(self) -> None:
        self.hours: list[list[datetime]] = []
        self.unfinished = False
        self.refuses = False

    def __call__(self, dagster_url: str, hours: Collection[datetime], own: set[str]) -> bool:
        """Note a request for a run."""
        if self.refuses:
            raise StackError("Dagster does not launch refresh_hourly_usage: busy")
        if not self.unfinished:
            self.hours.append(sorted(hours))
        return not self.unfinished


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    requests = Requests()
    monkeypatch.setattr(counting, "launch_counting", requests)
    return requests


@pytest.fixture
def of(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counting]:
    """Make a `Counting` of published hours; all records in Kafka have landed."""
    records = iter(range(1, 100))
    monkeypatch.setattr(Counting, "landed_records", lambda _: (next(records), 99))

    def make(*hours: datetime, url: str | None = "http://dagster") -> Counting:
        fediverse = cast(SimulatedFediverse, Published(*hours))
        return Counting(fediverse, lake, cast(Any, None), url)

    return make


def test_hours_that_have_landed_are_requested(
    lake: Lake, requests: Requests, of: Callable[..., Counting]
) -> None:
    """Not those that were published and are still on their way."""
    land(lake, record(uri="a"))
    of(HOUR, BEFORE).count_landed()
    assert requests.hours == [[HOUR]]


def test_counted_hours_are_not_requested_again(
    lake: Lake, requests: Requests, of: Callable[..., Counting]
) -> None:
    land(lake, record(uri="a"), record(uri="b", created_at=BEFORE))
    build_hours(lake, BEFORE)
    counting = of(HOUR, BEFORE)
    counting.count_landed()
    assert requests.hours == [[HOUR]]
    build_hours(lake, HOUR)
    counting.count_landed()
    assert requests.hours == [[HOUR]]
    assert counting.counted() == Published(HOUR, BEFORE).truth()


def test_what_lands_while_a_run_counts_is_requested_by_itself(
    lake: Lake, requests: Requests, of: Callable[..., Counting]
) -> None:
    """The run is not doubled, and what it has not counted yet is left to it."""
    hours = [HOUR - timedelta(hours=ago) for ago in range(4)]
    counting = of(*hours)
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in hours[2:]), name="first")
    counting.count_landed()
    assert requests.hours == [sorted(hours[2:])]
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in hours[:2]), name="second")
    counting.count_landed()
    assert len(requests.hours) == 1, "the hour before these is not counted"
    build_hours(lake, hours[2])
    counting.count_landed()
    assert requests.hours == [sorted(hours[2:]), sorted(hours[:2])]


def test_run_of_the_sensor_is_waited_for(
    lake: Lake, requests: Requests, of: Callable[..., Counting]
) -> None:
    land(lake, record(uri="a"))
    counting = of(HOUR)
    requests.unfinished = True
    counting.count_landed()
    requests.unfinished = False
    counting.count_landed()
    assert requests.hours == [[HOUR]]


def test_failed_run_is_not_requested_again(
    lake: Lake,
    requests: Requests,
    of: Callable[..., Counting],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without anything new the sensor retries, with growing pauses."""
    land(lake, record(uri="a"))
    counting = of(HOUR)
    monkeypatch.setattr(Counting, "landed_records", lambda _: (1, 1))
    counting.count_landed()
    counting.count_landed()
    assert requests.hours == [[HOUR]]


def test_dagster_that_does_not_answer_ends_no_demo(
    lake: Lake,
    requests: Requests,
    of: Callable[..., Counting],
    capsys: pytest.CaptureFixture[str],
) -> None:
    land(lake, record(uri="a"))
    requests.refuses = True
    of(HOUR).count_landed()
    assert capsys.readouterr().err == (
        "Dagster does not launch refresh_hourly_usage: busy; its sensor will\n"
    )


def test_without_an_address_all_is_left_to_the_sensor(
    lake: Lake, requests: Requests, of: Callable[..., Counting]
) -> None:
    land(lake, record(uri="a"))
    of(HOUR, url=None).count_landed()
    assert requests.hours == []
