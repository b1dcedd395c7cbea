"""The comparison of tables with the truth: each kind of difference shows."""

from infra.simulator.fediverse import Options
from infra.simulator.simulator import Simulator
from infra.simulator.truth import TrueToot
from mastodon_pipeline_tests.chaos.balance import Tables, compare


def published(count: int) -> list[TrueToot]:
    with Simulator(Options(toots=0, start="now")) as simulator:
        for _ in range(count):
            simulator.publish(0)
        return simulator.truth()


def tables(toots: list[TrueToot]) -> Tables:
    rows = tuple((toot.uri, toot.server, toot.hour) for toot in toots)
    hours: dict[tuple[str, str], int] = {}
    for _uri, server, hour in rows:
        hours[server, hour] = hours.get((server, hour), 0) + 1
    return Tables(rows, hours)


def test_equal_tables_are_even() -> None:
    truth = published(3)
    balance = compare(truth, tables(truth))
    assert balance.even
    assert (balance.published, balance.in_toots) == (3, 3)


def test_lost_toot_is_named_and_its_hour_is_wrong() -> None:
    truth = published(3)
    balance = compare(truth, tables(truth[1:]))
    assert not balance.even
    assert balance.lost == (truth[0],)
    assert balance.wrong_hours


def test_toot_in_two_rows_is_duplicated() -> None:
    truth = published(2)
    balance = compare(truth, tables([*truth, truth[0]]))
    assert not balance.even
    assert (balance.in_toots, balance.duplicated) == (2, 1)


def test_hourly_count_that_differs_from_the_rows_is_wrong() -> None:
    truth = published(2)
    right = tables(truth)
    [hour] = right.hours
    balance = compare(truth, Tables(right.toots, {hour: 3}))
    assert not balance.even
    assert balance.wrong_hours == {hour: (2, 3)}


def test_what_no_light_shows_is_not_even() -> None:
    assert not compare([], Tables(), unnoticed=1).even
