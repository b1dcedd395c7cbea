"""Reading a server's past: a period of its public timeline, each toot once."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.limits import Limits, Rate
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import PastUnreadable
from mastodon_pipeline.listening.client.pacing import Backoff
from mastodon_pipeline.listening.following.past import PastReading
from mastodon_pipeline.listening.following.tally import tally_source
from mastodon_pipeline.listening.following.timeline import NEWEST_PAGE_ONLY
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.scene import duplicates
from mastodon_pipeline_tests.support.simulated_servers import POLLED, simulator_settings

pytestmark = pytest.mark.thorough

_MANY = Rate(100_000, 300)
GENEROUS = Limits(_MANY, _MANY, _MANY)
"""Rates at which a year is read within a test."""
BASE = replace(POLLED, limits=GENEROUS)
YEAR_HOURS, TOOTS = 365 * 24, 1500


def year(*policies: ServerPolicy) -> Options:
    """Return servers that have published for a year."""
    return Options(policies or (BASE,), TOOTS, YEAR_HOURS, speed=math.inf, start="now")


def past_of(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    sink: RecordingSink,
    positions: MemoryPositions | None = None,
    since: int = 0,
    until: int | None = None,
) -> PastReading:
    """Return a reading of the first server's past."""
    return PastReading(
        parse_server(simulator.servers[0].base_url),
        since,
        until,
        simulator_settings(simulator, monkeypatch),
        sink,
        positions or MemoryPositions(),
        backoff=lambda: Backoff(first_seconds=0.1, longest_seconds=0.2),
    )


def read_past(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    since: int = 0,
    until: int | None = None,
    sink: RecordingSink | None = None,
    positions: MemoryPositions | None = None,
    beat: Callable[[], None] = lambda: None,
) -> RecordingSink:
    """Read the past of the first server; return the sink with what was recorded."""
    sink = sink or RecordingSink()
    past_of(simulator, monkeypatch, sink, positions, since, until).run(beat, 0.001)
    return sink


def listed(simulator: Simulator, since: int = 0, until: int | None = None) -> dict[str, int]:
    """Return the first server's own toots of a period that its timeline shows, with their times."""
    domain = simulator.servers[0].domain
    times = {
        toot.uri: int(datetime.fromisoformat(toot.created_at).timestamp() * 1000)
        for toot in simulator.truth()
        if toot.server == domain and domain in toot.listed and not toot.deleted
    }
    until = until or time.time_ns()
    return {uri: posted for uri, posted in times.items() if since <= posted < until}


@pytest.mark.parametrize(
    "policy",
    [BASE, replace(BASE, page_limit=20), replace(gotosocial("gts.example"), limits=GENEROUS)],
    ids=["Mastodon", "pages of 20", "GoToSocial"],
)
def test_year_of_toots_is_read_each_once(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are recorded with their post times and the source `past`. Shows G1."""
    with Simulator(year(policy)) as simulator:
        simulator.wait_until_done()
        sink = read_past(simulator, monkeypatch)
        truth = listed(simulator)
    assert len(truth) > 1000
    assert {record.uri: record.created_at for record in sink.records} == truth
    assert duplicates(sink.uris()) == {}
    assert {record.source for record in sink.records} == {"past"}


def test_period_is_read_to_the_millisecond_and_no_other_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Simulator(year(BASE)) as simulator:
        simulator.wait_until_done()
        times = sorted(listed(simulator).values())
        since, until = times[len(times) // 3], times[len(times) // 2]
        before = simulator.asked("timeline")
        sink = read_past(simulator, monkeypatch, since=since, until=until)
        truth = listed(simulator, since, until)
        pages = simulator.asked("timeline") - before
    assert set(sink.uris()) == set(truth)
    assert pages <= len(truth) / 40 + 4


def test_interrupted_reading_continues_after_its_last_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What had been acknowledged is not read again, whatever has been published since."""
    positions = MemoryPositions()

    def interrupt() -> None:
        if len(first.records) >= 200:
            raise KeyboardInterrupt

    first = RecordingSink()
    with Simulator(year(BASE)) as simulator:
        simulator.wait_until_done()
        until = int(time.time() * 1000)
        with pytest.raises(KeyboardInterrupt):
            read_past(simulator, monkeypatch, sink=first, positions=positions, beat=interrupt)
        truth = listed(simulator, until=until)
        simulator.publish()
        second = read_past(simulator, monkeypatch, positions=positions)
        third = read_past(simulator, monkeypatch, positions=positions)
    assert first.closed
    assert len(second.uris()) < len(truth)
    assert set(first.uris()) | set(second.uris()) == set(truth)
    assert set(second.uris()).isdisjoint(first.uris()[:200])
    assert third.uris() == []


def test_unacknowledged_page_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The position passes a page only once Kafka has it. Shows G1."""
    positions, stuck = MemoryPositions(), RecordingSink(acknowledging=False)

    def interrupt() -> None:
        if stuck.records:
            raise KeyboardInterrupt

    with Simulator(year(BASE)) as simulator:
        simulator.wait_until_done()
        with pytest.raises(KeyboardInterrupt):
            read_past(simulator, monkeypatch, sink=stuck, positions=positions, beat=interrupt)
        assert positions.positions == {}
        sink = read_past(simulator, monkeypatch, positions=positions)
        assert set(sink.uris()) == set(listed(simulator))


def test_reading_tallies_what_it_sent_apart_from_its_servers_listener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So a backfill never makes up for what a listener has lost."""
    positions = MemoryPositions()
    with Simulator(year(BASE)) as simulator:
        simulator.wait_until_done()
        sink = read_past(simulator, monkeypatch, positions=positions)
        base_url = simulator.servers[0].base_url
    tallies = list(positions.tallies.values())
    assert {tally.source for tally in tallies} == {tally_source(base_url, "past")}
    assert sum(tally.acknowledged for tally in tallies) == len(sink.records)
    assert all(tally.open == 0 and tally.ended for tally in tallies)


def test_small_limit_is_never_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are spread over the server's window, so none is refused. Shows G7."""
    window = Rate(30, 2)
    policy = replace(BASE, limits=Limits(window, window, window))
    waited: set[str] = set()
    with Simulator(year(policy)) as simulator:
        simulator.wait_until_done()
        reading = past_of(simulator, monkeypatch, sink := RecordingSink())
        reading.run(lambda: waited.add(reading.progress.waiting), 0.001)
        assert set(sink.uris()) == set(listed(simulator))
    assert waited == {""}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (replace(BASE, local_feed="disabled"), "disabled"),
        (replace(BASE, local_feed="authenticated"), "token"),
        (replace(BASE, ignores_max_id=True), NEWEST_PAGE_ONLY),
    ],
    ids=["disabled", "closed", "newest page only"],
)
def test_server_that_does_not_show_its_past_is_named_with_the_reason(
    policy: ServerPolicy, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator(year(policy)) as simulator:
        simulator.wait_until_done()
        with pytest.raises(PastUnreadable, match=words):
            read_past(simulator, monkeypatch)


@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 429, "reset": "iso", "reset_seconds": 0.1}],
    ids=["503", "429"],
)
def test_passing_refusal_is_waited_for(
    fault: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator(year(BASE)) as simulator:
        simulator.wait_until_done()
        simulator.fault("answer", 0, endpoint="timeline", seconds=1, **fault)
        sink = read_past(simulator, monkeypatch)
        assert set(sink.uris()) == set(listed(simulator))


def test_progress_says_how_far_it_is_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(year(BASE)) as simulator:
        simulator.wait_until_done()
        since = int(datetime(2016, 3, 1, tzinfo=UTC).timestamp() * 1000)
        reading = past_of(simulator, monkeypatch, RecordingSink(), since=since)
        reading.run()
        count = len(listed(simulator))
    assert reading.progress.line() == f"read back to 2016-03-01 00:00:00 UTC: {count} toots"
