"""The check `all_servers_reporting`: planted problems, and servers that only look like them."""

import time

import dagster as dg
import pytest

from mastodon_pipeline.asset_keys import TOPIC_ASSET
from mastodon_pipeline.listening.supervising.checks import (
    CHECK_NAME,
    Verdict,
    check_result,
    evaluate,
    judge,
    report_evaluation,
)
from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.reports import (
    GroupReport,
    ServerReport,
    load_reports,
    save_report,
)
from mastodon_pipeline.listening.supervising.runs import save_assignment
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.listening.supervising.sample_reports import (
    NOW,
    sample_report,
    sample_rhythm,
)

LONG_AGO = NOW - 86_400
A = parse_server("a.example")


def verdict_on_a(
    *servers: ServerReport, age_seconds: float = 10.0, changed_at: float = LONG_AGO
) -> Verdict:
    """Return the verdict on a.example from one group's report of that age."""
    report = GroupReport("group-1", "run", NOW - age_seconds, servers)
    [verdict] = judge([A], [report], changed_at, NOW)
    return verdict


def test_server_that_posts_as_usual_passes() -> None:
    """And the check's description says so."""
    assert verdict_on_a(sample_report()).level == "ok"
    result = check_result([verdict_on_a(sample_report())], NOW)
    assert result.passed
    assert result.description == "all 1 configured servers are reporting"


def test_silent_server_fails_the_check() -> None:
    """Its longest pause in a week was 20 minutes, now it has been silent for 50."""
    rhythm = sample_rhythm(silent_seconds=3000, longest_seconds=1200)
    verdict = verdict_on_a(sample_report(rhythm=rhythm))
    assert verdict.level == "error"
    assert verdict.problem == (
        "silent for 50 min; its longest pause in a week was 20 min (streaming)"
    )
    result = check_result([verdict], NOW)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description == f"1 of 1 configured servers: a.example: {verdict.problem}"


def test_slow_but_regular_server_passes() -> None:
    """Fifty minutes of silence are usual if the longest pause of the week was an hour."""
    rhythm = sample_rhythm(silent_seconds=3000, longest_seconds=3600)
    assert verdict_on_a(sample_report(rhythm=rhythm)).level == "ok"


def test_server_that_is_not_configured_is_ignored() -> None:
    """It is still in the report, silent for days."""
    gone = sample_report("gone.example", rhythm=sample_rhythm(silent_seconds=500_000))
    assert verdict_on_a(sample_report(), gone).level == "ok"


def test_unreachable_server_fails_once_it_is_silent_for_too_long() -> None:
    """Until then, and for as long as its rhythm allows, it is retried without an alarm."""
    for silent_seconds, level in ((500, "ok"), (3000, "error")):
        report = sample_report(
            state="waiting",
            reason="connection refused",
            rhythm=sample_rhythm(silent_seconds=silent_seconds),
        )
        assert verdict_on_a(report).level == level
    assert verdict_on_a(report).problem.endswith("(waiting)")


def test_parked_server_is_a_warning() -> None:
    """Its reason is known, and a person has to act."""
    report = sample_report(state="parked", reason="401: the token is not valid")
    verdict = verdict_on_a(report)
    assert verdict == Verdict(A, "warning", "parked", report)
    result = check_result([verdict], NOW)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN


def test_words_of_a_server_are_shown_as_text_only() -> None:
    """The UI renders descriptions as Markdown, and the cells of a table as plain text."""
    words = "![](https://evil.example/pixel) [click](javascript:alert(1))"
    silent = sample_rhythm(silent_seconds=90_000)
    reports = [
        sample_report(state="parked", reason=words),
        sample_report(state="waiting", reason=words, rhythm=silent),
    ]
    for report in reports:
        result = check_result([verdict_on_a(report)], NOW)
        assert "evil" not in str(result.description)
        shown = [value for value in result.metadata.values() if words in str(value)]
        assert [type(value) for value in shown] == [dg.TableMetadataValue]


def test_error_outweighs_a_warning() -> None:
    """With one parked and one silent server the check is an error."""
    silent = verdict_on_a(sample_report(rhythm=sample_rhythm(silent_seconds=9000)))
    parked = verdict_on_a(sample_report(state="parked"))
    assert check_result([parked, silent], NOW).severity == dg.AssetCheckSeverity.ERROR


def test_server_that_no_listener_follows_fails_the_check() -> None:
    """Never followed, or no longer: the last report is old."""
    [never] = judge([A], [], LONG_AGO, NOW)
    assert (never.level, never.problem) == ("error", "no listener has ever followed it")
    stale = verdict_on_a(sample_report(), age_seconds=600)
    assert (stale.level, stale.problem) == ("error", "no listener has followed it for 10 min")


def test_following_the_public_feed_is_not_following_the_local_one() -> None:
    """Each feed of a server is configured and judged separately."""
    assert verdict_on_a(sample_report(feed="public")).level == "error"


def test_newly_configured_server_is_not_judged_yet() -> None:
    """A listener needs some seconds to connect to it."""
    [verdict] = judge([A], [], NOW - 30, NOW)
    assert verdict.level == "pending"
    assert check_result([verdict], NOW).passed


def test_new_server_is_a_warning_after_a_silent_day() -> None:
    """With fewer than 100 known pauses an hour of silence means nothing."""
    hour = sample_rhythm(silent_seconds=3600, pauses=99)
    assert verdict_on_a(sample_report(rhythm=hour)).level == "ok"
    verdict = verdict_on_a(sample_report(rhythm=sample_rhythm(silent_seconds=90_000, pauses=99)))
    assert verdict.level == "warning"
    assert "too little is known" in verdict.problem


def test_newest_of_two_reports_counts() -> None:
    """A server that changed groups is still in its former group's last report."""
    former = GroupReport("group-1", "run-1", NOW - 100, (sample_report(state="stopped"),))
    present = GroupReport("group-2", "run-2", NOW - 10, (sample_report(),))
    [verdict] = judge([A], [former, present], LONG_AGO, NOW)
    assert verdict.level == "ok"


def test_description_counts_many_silent_servers_and_names_ten() -> None:
    """It stays a line with a thousand servers."""
    servers = [parse_server(f"s{number}.example") for number in range(1000)]
    result = check_result(judge(servers, [], LONG_AGO, NOW), NOW)
    assert len(str(result.description)) < 1000
    assert "and 990 more" in str(result.description)


def test_size_of_a_result_does_not_grow_with_the_servers() -> None:
    """There are more than a hundred a day, and Dagster's event log keeps them."""
    servers = [sample_report(f"server{number}.example") for number in range(1000)]
    verdicts = [Verdict(report.snapshot.server, "ok", report=report) for report in servers]
    result = check_result(verdicts, NOW)
    assert result.metadata["servers_left_out"].value == 980
    assert len(dg.serialize_value(dg.AssetObservation("a", metadata=result.metadata))) < 16_000


def test_check_reads_reports_and_assignments_from_dagsters_storage(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it may run on any machine."""
    monkeypatch.setenv("MASTODON_SERVERS", "a.example")
    now = time.time()
    save_assignment(instance, "group-1", Assignment((A,), 1, changed_at=now - 600))
    assert not evaluate(instance).passed
    save_report(instance, "group-1", "run", [sample_report(rhythm=sample_rhythm(now=now))])
    assert evaluate(instance).passed


def test_reports_are_loaded_oldest_first(instance: dg.DagsterInstance) -> None:
    """Whatever the order of the groups' names, as `judge` needs them."""
    save_report(instance, "group-2", "run-2", [sample_report()])
    save_report(instance, "group-1", "run-1", [sample_report()])
    reports = load_reports(instance, ["group-1", "group-2"])
    assert [report.group for report in reports] == ["group-2", "group-1"]


def test_evaluation_outside_of_a_run_is_recorded_at_the_topic(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listener runs and the observation's schedule evaluate the check too."""
    monkeypatch.setenv("MASTODON_SERVERS", "a.example")
    report_evaluation(instance)
    key = dg.AssetCheckKey(TOPIC_ASSET, CHECK_NAME)
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
    assert record.status.value == "FAILED"


@pytest.mark.parametrize(("seconds", "passes"), [(0.5, True), (-90.0, True), (-28_800.0, False)])
def test_wrong_clock_of_this_machine_fails_the_check(seconds: float, passes: bool) -> None:
    """Servers post as usual, but each toot counts in a wrong hour."""
    verdict = verdict_on_a(sample_report(clock_difference_seconds=seconds))
    result = check_result([verdict], NOW)
    assert result.passed is passes
    if not passes:
        assert result.severity == dg.AssetCheckSeverity.ERROR
        assert result.description is not None
        assert result.description.startswith("this machine's clock is 480 min behind")
