"""Reports: rhythms are learnt from a listener's counters, saved, and handed on."""

import dagster as dg
import pytest

from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.supervising.reports import (
    Reporter,
    format_duration,
    load_reports,
    load_rhythms,
    save_report,
)
from mastodon_pipeline.listening.supervising.rhythm import Rhythm
from mastodon_pipeline.listening.supervising.runs import load_values, save_value
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.listening.supervising.sample_reports import (
    NOW,
    sample_report,
    sample_rhythm,
)

A, B = parse_server("a.example"), parse_server("b.example")
KEY_A, KEY_B = "https://a.example local", "https://b.example local"


def test_reporter_continues_the_rhythm_of_an_earlier_run() -> None:
    """The time between the two runs is not a pause."""
    statistics = ServerStatistics(A, state="streaming")
    saved = sample_rhythm(silent_seconds=100)
    reporter = Reporter(lambda: [statistics], lambda: {KEY_A: saved})
    reporter.sample(NOW + 50)
    [report] = reporter.reports()
    assert report.rhythm.pauses == 500
    assert report.rhythm.absent_seconds == 50
    statistics.count_toot(0)
    reporter.sample(NOW + 51)
    statistics.count_toot(0)
    reporter.sample(NOW + 60)
    assert reporter.reports()[0].rhythm.pauses == 501


def test_reporter_loads_the_rhythm_of_a_server_that_is_added_later() -> None:
    """Its former group has just saved what it had learnt."""
    statistics = [ServerStatistics(A, state="streaming")]
    saved: dict[str, Rhythm] = {}
    reporter = Reporter(lambda: statistics, lambda: saved)
    reporter.sample(NOW)
    saved[KEY_B] = sample_rhythm()
    statistics.append(ServerStatistics(B))
    reporter.sample(NOW + 1)
    assert [report.rhythm.pauses for report in reporter.reports()] == [0, 500]


def test_reporter_notices_toots_after_a_counter_restarted_from_zero() -> None:
    """A server that is followed with another token has new statistics."""
    statistics = [ServerStatistics(A, state="streaming", toots=50)]
    reporter = Reporter(lambda: statistics, dict)
    reporter.sample(NOW)
    statistics[0] = ServerStatistics(A, state="streaming")
    reporter.sample(NOW + 1)
    assert reporter.reports()[0].rhythm.silent_seconds(NOW + 9) == 9
    statistics[0].count_toot(0)
    reporter.sample(NOW + 5)
    assert reporter.reports()[0].rhythm.silent_seconds(NOW + 9) == 4


@pytest.mark.parametrize("obstacle", ["waiting", "filling a gap"])
def test_reporter_learns_no_pause_that_it_could_not_watch(obstacle: str) -> None:
    """Neither while the server is unreachable nor while a gap is being filled."""
    statistics = ServerStatistics(A, state="streaming")
    reporter = Reporter(lambda: [statistics], dict)
    statistics.count_toot(0)
    reporter.sample(NOW)
    if obstacle == "waiting":
        statistics.set_state("waiting", "refused")
    else:
        statistics.open_gaps = 1
    reporter.sample(NOW + 300)
    statistics.set_state("streaming")
    statistics.open_gaps = 0
    statistics.count_toot(0)
    reporter.sample(NOW + 600)
    assert reporter.reports()[0].rhythm.pauses == 0
    statistics.count_toot(0)
    reporter.sample(NOW + 610)
    assert reporter.reports()[0].rhythm.pauses == 1


def test_reporter_loads_the_rhythm_again_when_a_server_comes_back() -> None:
    """In between another run may have listened to it."""
    server = ServerStatistics(A, state="streaming")
    statistics, saved = [server], dict[str, Rhythm]()
    reporter = Reporter(lambda: statistics, lambda: saved)
    reporter.sample(NOW)
    statistics.clear()
    reporter.sample(NOW + 1)
    assert reporter.reports() == ()
    saved[KEY_A] = sample_rhythm()
    statistics.append(server)
    reporter.sample(NOW + 2)
    assert reporter.reports()[0].rhythm.pauses == 500


def test_latest_rhythm_is_loaded_of_a_server_in_two_reports(instance: dg.DagsterInstance) -> None:
    """It changed groups: its new group's report is newer."""
    former = sample_report(rhythm=sample_rhythm(pauses=1))
    present = sample_report(rhythm=sample_rhythm(pauses=2))
    save_report(instance, "group-2", "run-1", [former, sample_report("b.example")])
    save_report(instance, "group-1", "run-2", [present])
    rhythms = load_rhythms(instance, ["group-1", "group-2", "group-3"])
    assert {key: rhythm.pauses for key, rhythm in rhythms.items()} == {KEY_A: 2, KEY_B: 500}


def test_report_in_another_versions_form_is_ignored(instance: dg.DagsterInstance) -> None:
    """After an upgrade rhythms are learnt again, and listening goes on."""
    save_value(instance, "mastodon_listener/group-1/report", '{"group": "group-1", "rows": 7}')
    save_report(instance, "group-2", "run-2", [sample_report()])
    reports = load_reports(instance, ["group-1", "group-2"])
    assert [report.group for report in reports] == ["group-2"]


def test_report_of_a_thousand_servers_is_below_a_megabyte(instance: dg.DagsterInstance) -> None:
    """It is replaced in Dagster's storage every 30 s."""
    servers = [sample_report(f"server{number}.example") for number in range(1000)]
    save_report(instance, "group-1", "run-1", servers)
    [value] = load_values(instance, "mastodon_listener/group-1/report")
    assert value is not None
    assert len(value) < 1_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(42.0, "42 s"), (720.0, "12 min"), (12_600.0, "3.5 h"), (181_440.0, "2.1 days")],
)
def test_duration_is_formatted_in_one_unit(seconds: float, text: str) -> None:
    """The largest of which there are at least two."""
    assert format_duration(seconds) == text
