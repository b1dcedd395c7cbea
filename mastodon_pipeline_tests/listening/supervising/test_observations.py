"""What a listener shows of its servers in Dagster, how often, and how much of it."""

import dagster as dg
import msgspec
import pytest

from mastodon_pipeline.listening.following.statistics import ServerStatistics, UnfilledGap
from mastodon_pipeline.listening.supervising.observations import (
    GAPS_SHOWN,
    SERVERS_SHOWN,
    ObservationPace,
    observation_metadata,
    servers_markdown,
)
from mastodon_pipeline.listening.supervising.reports import (
    Reporter,
    duration,
    read_reports,
    remembered_rhythms,
    write_report,
)
from mastodon_pipeline.listening.supervising.rhythm import Rhythm
from mastodon_pipeline.listening.supervising.runs import keep
from mastodon_pipeline_tests.listening.supervising.test_checks import NOW, a_report

GAP = UnfilledGap("1", "9", 1_799_990_000_000, 1_799_993_600_000, "410 Gone", 1_799_999_000_000)


def observed_at(pace: ObservationPace, changes: dict[int, int], until: int) -> list[int]:
    """The seconds at which it observes; `changes`: lost gaps from a second on."""
    lost, seconds = 0, []
    for second in range(0, until, 5):
        lost = changes.get(second, lost)
        servers = [msgspec.structs.replace(a_report(now=NOW + second), gaps_lost=lost)]
        if pace.due(servers, NOW + second, float(second)):
            seconds.append(second)
    return seconds


def test_it_observes_less_and_less_where_nothing_happens() -> None:
    """Every 15 minutes in the end: a day has about a hundred."""
    seconds = observed_at(ObservationPace(0.0), {}, 86_400)
    assert seconds[:6] == [30, 90, 210, 450, 930, 1830]
    assert len(seconds) <= 100


def test_it_observes_sooner_where_something_happened() -> None:
    """A gap that could not be filled is shown at once, but no two within two minutes."""
    quiet = observed_at(ObservationPace(0.0), {2000: 1}, 2400)
    assert 2000 in quiet
    always = {second: second for second in range(0, 86_400, 5)}
    assert len(observed_at(ObservationPace(0.0), always, 86_400)) <= 721


def table(metadata: object) -> list[dg.TableRecord]:
    assert isinstance(metadata, dg.TableMetadataValue)
    return list(metadata.records)


def test_each_server_is_a_line() -> None:
    """State and why, rate, lag, last toot, reconnects, gaps: all that the UI is to show."""
    report = msgspec.structs.replace(
        a_report(reason="no token"), state="polling", gaps_lost=1, unfilled_gaps=(GAP,)
    )
    [row] = table(observation_metadata("group-1", [report], NOW)["servers"])
    assert row.data == {
        "server": "a.example local",
        "state": "polling",
        "why": "no token",
        "toots_per_minute": 1.0,
        "lag_seconds": 0.4,
        "last_toot": "2027-01-15 07:59:55",
        "toots": 10,
        "reconnects": 0,
        "open_gaps": 0,
        "gaps_filled": 0,
        "unfilled_gaps": 1,
        "last_unfilled_gap": "2027-01-15 05:13:20 to 2027-01-15 06:13:20: 410 Gone",
        "dead_letters": 0,
    }


def test_of_a_thousand_servers_the_worst_are_shown() -> None:
    """The silent, the parked and the unreachable first; and how many are left out."""
    fine = [a_report(f"s{number}.example") for number in range(997)]
    bad = [
        a_report("silent.example", silent=9000),
        a_report("parked.example", state="parked", reason="410 Gone"),
        a_report("waiting.example", state="waiting", reason="refused"),
    ]
    metadata = observation_metadata("group-1", [*fine, *bad], NOW)
    rows = table(metadata["servers"])
    assert len(rows) == SERVERS_SHOWN
    assert {str(row.data["server"]) for row in rows[:3]} == {
        "silent.example local",
        "parked.example local",
        "waiting.example local",
    }
    assert metadata["servers_left_out"] == 950
    assert metadata["states"] == "998 streaming, 1 parked, 1 waiting"


def test_an_observation_has_a_size_that_does_not_grow_with_the_group() -> None:
    """Gaps too are the newest twenty; in all about 20 KB, and 40 KB at the worst."""
    gaps = (GAP,) * 5
    servers = [
        msgspec.structs.replace(a_report(f"server{number}.example"), unfilled_gaps=gaps)
        for number in range(1000)
    ]
    metadata = observation_metadata("group-1", servers, NOW)
    assert len(table(metadata["unfilled_gaps"])) == GAPS_SHOWN
    observation = dg.AssetObservation("mastodon_topic", metadata=metadata)
    assert len(dg.serialize_value(observation)) < 40_000


def test_the_markdown_survives_a_reason_with_bars_in_it() -> None:
    """A row stays a row."""
    lines = servers_markdown([a_report(state="parked", reason="a|b")], NOW).splitlines()
    assert lines[2].replace("\\|", "").count("|") == lines[0].count("|")


def test_the_reporter_learns_rhythms_and_hands_them_on() -> None:
    """A former run's rhythm goes on; the time between the two was no pause."""
    statistics = ServerStatistics("a.example", "local", state="streaming")
    before = a_report(silent=100).rhythm
    reporter = Reporter(lambda: [statistics], lambda: {"a.example local": before})
    reporter.look(NOW + 50)
    [report] = reporter.reports()
    assert report.rhythm.pauses == 500
    assert report.rhythm.away_seconds == 50
    statistics.count_toot(0)
    reporter.look(NOW + 51)
    statistics.count_toot(0)
    reporter.look(NOW + 60)
    assert reporter.reports()[0].rhythm.pauses == 501


def test_a_server_that_comes_later_is_looked_up_then() -> None:
    """Its former group has just written down what it knew."""
    statistics = [ServerStatistics("a.example", "local", state="streaming")]
    remembered: dict[str, Rhythm] = {}
    reporter = Reporter(lambda: statistics, lambda: remembered)
    reporter.look(NOW)
    remembered["b.example local"] = a_report("b.example").rhythm
    statistics.append(ServerStatistics("b.example", "local"))
    reporter.look(NOW + 1)
    assert [report.rhythm.pauses for report in reporter.reports()] == [0, 500]


def test_a_server_that_is_followed_anew_counts_from_zero() -> None:
    """Its toots are noticed all the same."""
    statistics = [ServerStatistics("a.example", "local", state="streaming", toots=50)]
    reporter = Reporter(lambda: statistics, dict)
    reporter.look(NOW)
    statistics[0] = ServerStatistics("a.example", "local", state="streaming")
    reporter.look(NOW + 1)
    assert reporter.reports()[0].rhythm.silent_seconds(NOW + 9) == 9
    statistics[0].count_toot(0)
    reporter.look(NOW + 5)
    assert reporter.reports()[0].rhythm.silent_seconds(NOW + 9) == 4


def test_a_server_that_left_and_came_back_is_looked_up_again() -> None:
    """In between somebody else may have listened to it."""
    here = [ServerStatistics("a.example", "local", state="streaming")]
    statistics, remembered = list(here), dict[str, Rhythm]()
    reporter = Reporter(lambda: statistics, lambda: remembered)
    reporter.look(NOW)
    statistics.clear()
    reporter.look(NOW + 1)
    assert reporter.reports() == ()
    remembered["a.example local"] = a_report().rhythm
    statistics += here
    reporter.look(NOW + 2)
    assert reporter.reports()[0].rhythm.pauses == 500


def test_reports_are_kept_in_dagster_s_storage() -> None:
    """Of two groups that know a server, the one that spoke last."""
    with dg.DagsterInstance.ephemeral() as instance:
        write_report(instance, "group-1", "run-1", [a_report(pauses=1), a_report("b.example")])
        write_report(instance, "group-2", "run-2", [a_report(pauses=2)])
        found = remembered_rhythms(instance, ["group-1", "group-2", "group-3"])
    assert {key: rhythm.pauses for key, rhythm in found.items()} == {
        "a.example local": 2,
        "b.example local": 500,
    }


def test_a_report_in_another_version_s_form_is_none() -> None:
    """After an upgrade rhythms are learnt anew, and listening goes on."""
    with dg.DagsterInstance.ephemeral() as instance:
        keep(instance, "mastodon_listener/group-1/report", '{"group": "group-1", "rows": 7}')
        write_report(instance, "group-2", "run-2", [a_report()])
        assert [one.group for one in read_reports(instance, ["group-1", "group-2"])] == ["group-2"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42.0, "42 s"), (720.0, "12 min"), (12_600.0, "3.5 h"), (181_440.0, "2.1 days")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """One unit is enough."""
    assert duration(seconds) == text
