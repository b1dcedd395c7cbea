"""Is every wanted server heard: planted errors, and servers that only look like them."""

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from mastodon_pipeline.listening.following.statistics import State
from mastodon_pipeline.listening.supervising.checks import (
    CHECK_NAME,
    Verdict,
    check_result,
    evaluate,
    judge,
    report_evaluation,
)
from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.reports import GroupReport, ServerReport, write_report
from mastodon_pipeline.listening.supervising.rhythm import Day, Rhythm
from mastodon_pipeline.listening.supervising.runs import assign
from mastodon_pipeline.listening.supervising.topic_asset import TOPIC_ASSET
from mastodon_pipeline.settings import parse_server

NOW = 1_800_000_000.0
LONG_AGO = NOW - 86_400
A = parse_server("a.example")


def a_report(
    server: str = "a.example",
    *,
    silent: float = 5.0,
    longest: float = 300.0,
    pauses: int = 500,
    state: State = "streaming",
    reason: str = "",
    feed: str = "local",
    now: float = NOW,
) -> ServerReport:
    """A server's report; seconds before now."""
    rhythm = Rhythm(
        since=now - 1_000_000,
        looked_at=now,
        last_toot_at=now - silent,
        days=[Day(int(now // 86_400), pauses, longest)],
    )
    return ServerReport(
        server=server,
        feed=feed,
        state=state,
        reason=reason,
        toots=10,
        toots_per_minute=1.0,
        lag_seconds=0.4,
        dead_letters=0,
        reconnects=0,
        open_gaps=0,
        gaps_filled=0,
        gaps_lost=0,
        unfilled_gaps=(),
        rhythm=rhythm,
    )


def judged(*servers: ServerReport, age: float = 10.0, changed_at: float = LONG_AGO) -> Verdict:
    """The verdict on a.example, from one group's report of so many seconds ago."""
    group = GroupReport("group-1", "run", NOW - age, servers)
    [verdict] = judge([A], [group], changed_at, NOW)
    return verdict


def test_a_server_that_toots_as_usual_passes() -> None:
    """And the check says so."""
    assert judged(a_report()).level == "heard"
    result = check_result([judged(a_report())], NOW)
    assert result.passed
    assert result.description == "all 1 wanted servers are heard"


def test_a_silent_server_fails_the_check() -> None:
    """Its longest pause in a week was 20 minutes, now it has been silent for 50."""
    verdict = judged(a_report(silent=3000, longest=1200))
    assert verdict.level == "error"
    assert verdict.why == ("silent for 50 min; its longest pause in a week was 20 min (streaming)")
    result = check_result([verdict], NOW)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert "a.example: silent for 50 min" in str(result.description)


def test_a_slow_but_regular_server_passes() -> None:
    """As silent as that one, but that is its way."""
    assert judged(a_report(silent=3000, longest=3600)).level == "heard"


def test_an_unwanted_server_is_ignored() -> None:
    """It is still in the report, silent for days."""
    assert judged(a_report(), a_report("gone.example", silent=500_000)).level == "heard"


def test_a_server_that_cannot_be_reached_fails_with_its_reason() -> None:
    """Once that has lasted longer than its pauses do."""
    verdict = judged(a_report(silent=3000, state="waiting", reason="connection refused"))
    assert verdict.level == "error"
    assert "(waiting: connection refused)" in verdict.why


def test_a_parked_server_is_a_warning() -> None:
    """Its reason is known, and a person has to do something about it."""
    verdict = judged(a_report(state="parked", reason="401: the token is not valid"))
    assert verdict == Verdict(
        A,
        "warning",
        "parked: 401: the token is not valid",
        a_report(state="parked", reason="401: the token is not valid"),
    )
    result = check_result([verdict], NOW)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_an_error_outweighs_a_warning() -> None:
    """One server of each."""
    parked, silent = judged(a_report(state="parked")), judged(a_report(silent=9000))
    assert check_result([parked, silent], NOW).severity == dg.AssetCheckSeverity.ERROR


def test_a_server_that_nobody_follows_fails_the_check() -> None:
    """Never, or no longer: the last report is old."""
    [never] = judge([A], [], LONG_AGO, NOW)
    assert (never.level, never.why) == ("error", "no listener has followed it ever")
    stale = judged(a_report(), age=600)
    assert (stale.level, stale.why) == ("error", "no listener has followed it for 10 min")


def test_the_local_feed_is_not_the_public_one() -> None:
    """Who follows another feed of the server does not follow what is wanted."""
    assert judged(a_report(feed="public")).level == "error"


def test_a_server_that_was_only_just_configured_is_not_judged() -> None:
    """A listener needs some seconds to take it up."""
    [verdict] = judge([A], [], NOW - 30, NOW)
    assert verdict.level == "too soon to say"
    assert check_result([verdict], NOW).passed


def test_too_little_is_known_of_a_new_server() -> None:
    """Silent for an hour is nothing; for more than a day a warning."""
    assert judged(a_report(silent=3600, pauses=99)).level == "heard"
    verdict = judged(a_report(silent=90_000, pauses=99))
    assert verdict.level == "warning"
    assert "too little is known" in verdict.why


def test_of_two_reports_the_newer_counts() -> None:
    """A server that changed hands is still in its former group's last report."""
    old = GroupReport("group-1", "run-1", NOW - 100, (a_report(state="stopped"),))
    new = GroupReport("group-2", "run-2", NOW - 10, (a_report(),))
    [verdict] = judge([A], [new, old], LONG_AGO, NOW)
    assert verdict.level == "heard"


def test_many_silent_servers_are_counted_and_some_named() -> None:
    """The description stays a line."""
    wanted = [parse_server(f"s{number}.example") for number in range(1000)]
    result = check_result(judge(wanted, [], LONG_AGO, NOW), NOW)
    assert len(str(result.description)) < 1000
    assert "and 990 more" in str(result.description)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("MASTODON_SERVERS", "a.example")
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_it_reads_what_the_listeners_of_any_machine_reported(
    instance: dg.DagsterInstance,
) -> None:
    """From Dagster's storage, where the supervisor's assignments are too."""
    assign(instance, "group-1", Assignment((A,), 1, changed_at=time.time() - 600))
    assert not evaluate(instance).passed
    write_report(instance, "group-1", "run", [a_report(now=time.time())])
    assert evaluate(instance).passed


def test_its_result_is_noted_at_the_topic(instance: dg.DagsterInstance) -> None:
    """Outside of the check's own job too: by listeners and the observation's schedule."""
    report_evaluation(instance)
    key = dg.AssetCheckKey(TOPIC_ASSET, CHECK_NAME)
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
    assert record.status.value == "FAILED"
