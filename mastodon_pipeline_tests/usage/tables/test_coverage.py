"""`server_coverage`: what servers report of themselves, what was counted, and its check."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from infra.simulator.simulator import Simulator
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.assets import ASSETS
from mastodon_pipeline.usage.checks.coverage import coverage_is_plausible
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.refreshing.schedules import server_coverage_schedule
from mastodon_pipeline.usage.tables.coverage import SERVER_COVERAGE, build_server_coverage
from mastodon_pipeline.usage.tables.server_activity import ReportedWeek, ServerReport
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, LocalLakeResource, land, record, rows

pytestmark = pytest.mark.thorough

TODAY = date(2026, 12, 1)
FIRST = HOUR.date()


def count_toots(lake: Lake, toots: int, hour: datetime = HOUR, server: str = "one.example") -> None:
    """Build an hour in which N toots of a server were seen."""
    land(
        lake,
        *(
            record(uri=f"{hour}{n}", status_id=f"{hour}{n}", server=server, created_at=hour)
            for n in range(toots)
        ),
    )
    build_hours(lake, hour)


def report(*statuses: int, newest: date = FIRST) -> ServerReport:
    """one.example's report: its weeks' figures, the newest first."""
    weeks = [ReportedWeek(newest - timedelta(weeks=n), count) for n, count in enumerate(statuses)]
    return ServerReport("https://one.example", "one.example", tuple(weeks))


def cover(lake: Lake, *reports: ServerReport, day: date = TODAY) -> list[dict[str, object]]:
    """Build the day's table with these reports as the servers' answers, and return it."""
    table = build_server_coverage(lake, day, TODAY, lambda: reports)
    return rows(lake, table.path)


def test_counts_are_compared_with_what_the_server_reports(lake: Lake) -> None:
    """Six days a week, and only of the server's own accounts."""
    count_toots(lake, 3)
    count_toots(lake, 2, HOUR + timedelta(days=5))
    count_toots(lake, 4, HOUR + timedelta(days=6))
    count_toots(lake, 5, HOUR + timedelta(hours=1), "two.example")
    newest, earlier = cover(lake, report(10, 7))
    assert newest == {
        "day": TODAY,
        "server": "one.example",
        "base_url": "https://one.example",
        "first_day": FIRST,
        "last_day": FIRST + timedelta(days=5),
        "reported": 10,
        "toots": 5,
        "share": 0.5,
        "hours_heard": 2,
        "reason": "",
    }
    assert (earlier["toots"], earlier["share"], earlier["hours_heard"]) == (0, 0.0, 0)


def test_server_without_figures_is_a_row_with_the_reason(lake: Lake) -> None:
    silent = ServerReport("https://two.example", "two.example", (), "404 Not Found")
    (row,) = cover(lake, silent)
    assert row["reason"] == "404 Not Found"
    assert {row[name] for name in ("first_day", "reported", "toots", "share")} == {None}
    finding = coverage_is_plausible(lake, SERVER_COVERAGE.name, [TODAY])
    assert finding.summary == "0 faults in 0 servers, 1 skipped (they report no figures)"


def test_past_day_of_coverage_stays_as_it_was_written(lake: Lake) -> None:
    """Servers cannot be asked in the past; a day on which nobody asked has no rows."""
    cover(lake, report(10))
    tomorrow = TODAY + timedelta(days=1)
    table = build_server_coverage(lake, TODAY, tomorrow, lambda: pytest.fail("asked"))
    assert (table.rows, table.unchanged) == (1, True)
    assert cover(lake, day=TODAY - timedelta(days=3)) == []


def history(lake: Lake, *toots: int) -> None:
    """Build weeks of one.example in which N toots were counted each, the newest first."""
    for age, count in enumerate(toots):
        if count:
            count_toots(lake, count, HOUR - timedelta(weeks=age))


def test_coverage_passes_if_the_share_is_what_it_was(lake: Lake) -> None:
    """A week from before listening is not compared."""
    history(lake, 20, 30, 28, 0)
    cover(lake, report(100, 101, 99, 98))
    finding = coverage_is_plausible(lake, SERVER_COVERAGE.name, [TODAY])
    assert (finding.faults, finding.compared, finding.skipped) == ((), 1, 0)


def test_more_toots_than_reported_statuses_are_a_fault(lake: Lake) -> None:
    """Something is counted twice, or under a wrong name."""
    history(lake, 14)
    cover(lake, report(12))
    assert "14 toots of 12 reported statuses, more than there are" in (
        coverage_is_plausible(lake, SERVER_COVERAGE.name, [TODAY]).summary
    )
    cover(lake, report(13))
    assert coverage_is_plausible(lake, SERVER_COVERAGE.name, [TODAY]).passed, "a toot at midnight"


@pytest.mark.parametrize("newest", [0, 9])
def test_share_that_fell_is_a_fault(lake: Lake, newest: int) -> None:
    """A listener lost most of a week, or all of it."""
    history(lake, newest, 30, 28)
    cover(lake, report(100, 100, 100))
    assert f"{newest} toots of 100 reported statuses ({newest}.0%), earlier 29.0%" in (
        coverage_is_plausible(lake, SERVER_COVERAGE.name, [TODAY]).summary
    )


def test_quiet_server_raises_no_alarm(lake: Lake) -> None:
    """A few statuses more or less prove nothing."""
    history(lake, 0, 12, 11)
    cover(lake, report(40, 40, 40))
    assert coverage_is_plausible(lake, SERVER_COVERAGE.name, [TODAY]).passed


def test_coverage_asset_asks_the_configured_servers_and_warns(
    lake: Lake,
    servers: Simulator,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that refuses fails no run; a planted error is a warning."""
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)
    today = datetime.now(UTC).date()
    week = HOUR.replace(year=today.year, month=today.month, day=today.day) - timedelta(weeks=1)
    count_toots(lake, 90, week, "reporting.example")
    outcome = dg.materialize(
        [ASSETS["server_coverage"]],
        partition_key=f"{today}",
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
    )
    (event,) = outcome.asset_materializations_for_node("server_coverage")
    assert event.metadata["dagster/row_count"].value == 11 + 2
    (check,) = outcome.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert re.search(
        r"reporting.example, .* 90 toots of \d+ reported statuses, more than there are",
        check.description or "",
    )


def test_servers_are_asked_once_a_day(lake: Lake, tmp_path: Path) -> None:
    """In the first hour in which the pipeline runs, whatever they answered."""
    moment = datetime(2026, 11, 24, 0, 25, tzinfo=UTC)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        at = partial(dg.build_schedule_context, instance=instance)
        request = server_coverage_schedule(at(scheduled_execution_time=moment))
        assert isinstance(request, dg.RunRequest)
        assert request.partition_key == "2026-11-24"
        assert (
            definitions.resolve_job_def("refresh_server_coverage")
            .execute_in_process(
                instance=instance,
                partition_key=request.partition_key,
                resources={"lake": LocalLakeResource(root=lake.layout.root)},
            )
            .success
        )
        later = server_coverage_schedule(at(scheduled_execution_time=moment + timedelta(hours=1)))
        assert isinstance(later, dg.SkipReason)
        next_day = server_coverage_schedule(at(scheduled_execution_time=moment + timedelta(days=1)))
        assert isinstance(next_day, dg.RunRequest)
