"""`server_coverage`: what servers report of themselves, what was counted, and where they part."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import dagster as dg
import pytest

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.servers import Server, parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.tables.building import build_toots, build_toots_per_server
from mastodon_pipeline.usage.tables.coverage import (
    TABLE,
    build_server_coverage,
    coverage_is_plausible,
)
from mastodon_pipeline.usage.tables.coverage_asset import server_coverage, server_coverage_schedule
from mastodon_pipeline.usage.tables.server_activity import (
    MOST,
    WEEK,
    ReportedWeek,
    ServerReport,
    ask_servers,
)
from mastodon_pipeline_tests.support.local_lake import HOUR, LocalLakeResource, land, record, rows

TODAY = date(2026, 12, 1)
FIRST = HOUR.date()


@pytest.fixture(scope="module")
def servers() -> Iterator[Simulator]:
    """One server that tells its activity, one that has it switched off, one that is closed."""
    told = ServerPolicy("told.example")
    hushed = ServerPolicy("hushed.example", activity=False)
    closed = ServerPolicy("closed.example", closed=True, activity=False)
    options = Options(servers=(told, hushed, closed), toots=60, hours=120, speed=float("inf"))
    with Simulator(options) as simulator:
        simulator.start_publishing()
        simulator.wait_until_done()
        yield simulator


def counted(lake: Lake, toots: int, hour: datetime = HOUR, server: str = "one.example") -> None:
    """An hour in which so many toots of a server were seen."""
    land(
        lake,
        *(
            record(uri=f"{hour}{n}", status_id=f"{hour}{n}", server=server, created_at=hour)
            for n in range(toots)
        ),
    )
    build_toots(lake, hour)
    build_toots_per_server(lake, hour)


def report(*statuses: int, newest: date = FIRST) -> ServerReport:
    """one.example's report: its weeks' figures, the newest first."""
    weeks = [ReportedWeek(newest - timedelta(weeks=n), told) for n, told in enumerate(statuses)]
    return ServerReport("https://one.example", "one.example", tuple(weeks))


def cover(lake: Lake, *reports: ServerReport, day: date = TODAY) -> list[dict[str, object]]:
    """The day's table, built with these reports as the servers' answers."""
    table = build_server_coverage(lake, day, TODAY, lambda: reports)
    return rows(lake, table.path)


def test_every_server_is_asked_and_the_silent_ones_say_why(servers: Simulator) -> None:
    """Switched off is 404; a server that nobody can reach is no error either."""
    settings = Settings(mastodon_allow_private_addresses=True)
    addresses = [*(server.base_url for server in servers.servers), "http://127.0.0.1:9"]
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    told, hushed, closed, gone = ask_servers(
        [parse_server(address) for address in addresses], settings, tomorrow
    )
    assert (told.domain, told.reason) == ("told.example", "")
    assert len(told.weeks) == 11, "the running day is no week that is over"
    assert [week.first_day for week in told.weeks] == sorted(
        {week.first_day for week in told.weeks}, reverse=True
    )
    assert (hushed.domain, hushed.weeks) == ("hushed.example", ())
    assert hushed.reason.startswith("404")
    assert closed.reason
    assert (gone.domain, gone.reason) == ("127.0.0.1", "it refuses connections")


def test_a_weeks_figure_is_the_servers_own_count_of_six_days(servers: Simulator) -> None:
    """Hidden toots included; the running day begins a week that is over six days later."""
    settings = Settings(mastodon_allow_private_addresses=True)
    server = servers.servers[0]
    later = datetime.now(UTC).date() + timedelta(days=6)
    (told,) = ask_servers([parse_server(server.base_url)], settings, later)
    created = [datetime.fromtimestamp(at / 1000, UTC).date() for at in server.created]
    assert len(told.weeks) == 12
    assert sum(week.statuses for week in told.weeks) > 0
    for week in told.weeks:
        those = [day for day in created if week.first_day <= day < week.first_day + WEEK]
        assert week.statuses == len(those)


def test_addresses_that_are_not_public_are_not_asked(servers: Simulator) -> None:
    """The same rules as for listening."""
    (told,) = ask_servers([parse_server(servers.servers[0].base_url)], Settings(), TODAY)
    assert "is not https" in told.reason


@contextmanager
def answering(activity: bytes, domain: str = "odd.example") -> Iterator[Server]:
    """A server that answers with this activity, byte by byte as given."""

    class Odd(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = activity if "activity" in self.path else f'{{"domain": "{domain}"}}'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield parse_server(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "activity",
    [
        b"",
        b"<html>",
        b"null",
        b"{}",
        b"[]",
        b"[null]",
        b'[{"week": null, "statuses": "1"}]',
        b'[{"week": "1e999", "statuses": "1"}]',
        b'[{"week": "0", "statuses": "1"}]',
        b'[{"week": "-62135596800", "statuses": "1"}]',
        b'[{"week": "99999999999", "statuses": "1"}]',
        b'[{"week": "1763942400", "statuses": "many"}]',
    ],
)
def test_an_answer_that_makes_no_sense_is_a_reason(lake: Lake, activity: bytes) -> None:
    """Nor does a week of another century make anybody look through its days."""
    settings = Settings(mastodon_allow_private_addresses=True)
    with answering(activity) as server:
        told = ask_servers([server], settings, TODAY)
    (row,) = cover(lake, *told)
    assert row["reason"]
    assert row["first_day"] is None


def test_a_server_that_boasts_is_written_down(lake: Lake) -> None:
    """Any number, and a domain with half a character in it."""
    week = int(datetime.combine(FIRST, time(), UTC).timestamp())
    activity = f'[{{"week": "{week}", "statuses": "{10**40}"}}]'.encode()
    settings = Settings(mastodon_allow_private_addresses=True)
    with answering(activity, domain=r"odd\ud800\u0000.example" + "x" * 999) as server:
        told = ask_servers([server], settings, TODAY)
    (row,) = cover(lake, *told)
    assert (row["first_day"], row["reported"], row["reason"]) == (FIRST, MOST, "")
    assert row["server"] == ("odd\N{REPLACEMENT CHARACTER}.example" + "x" * 999)[:253]


def test_counts_stand_beside_what_the_server_reports(lake: Lake) -> None:
    """Six days a week, and of the server's own accounts alone."""
    counted(lake, 3)
    counted(lake, 2, HOUR + timedelta(days=5))
    counted(lake, 4, HOUR + timedelta(days=6))
    counted(lake, 5, HOUR + timedelta(hours=1), "two.example")
    newest, former = cover(lake, report(10, 7))
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
    assert (former["toots"], former["share"], former["hours_heard"]) == (0, 0.0, 0)


def test_a_silent_server_is_a_row_with_the_reason(lake: Lake) -> None:
    """No figure is made up for it."""
    silent = ServerReport("https://two.example", "two.example", (), "404 Not Found")
    (row,) = cover(lake, silent)
    assert row["reason"] == "404 Not Found"
    assert {row[name] for name in ("first_day", "reported", "toots", "share")} == {None}
    found = coverage_is_plausible(lake, TABLE, [TODAY])
    assert (found.passed, found.compared, found.unsettled) == (True, 0, 1)


def test_a_past_day_stays_as_it_was_written(lake: Lake) -> None:
    """Nobody can be asked in the past; a day on which nobody asked has no rows."""
    cover(lake, report(10))
    tomorrow = TODAY + timedelta(days=1)
    table = build_server_coverage(lake, TODAY, tomorrow, lambda: pytest.fail("asked"))
    assert (table.rows, table.kept) == (1, True)
    assert cover(lake, day=TODAY - timedelta(days=3)) == []


def history(lake: Lake, *toots: int) -> None:
    """Weeks of one.example in which so many toots were counted, the newest first."""
    for age, count in enumerate(toots):
        if count:
            counted(lake, count, HOUR - timedelta(weeks=age))


def test_the_check_passes_where_the_share_is_what_it_was(lake: Lake) -> None:
    """Servers differ, and a week from before listening is none to compare with."""
    history(lake, 20, 30, 28, 0)
    cover(lake, report(100, 101, 99, 98))
    found = coverage_is_plausible(lake, TABLE, [TODAY])
    assert (found.faults, found.compared, found.unsettled) == ((), 1, 0)


def test_more_toots_than_statuses_are_found(lake: Lake) -> None:
    """Then something is counted twice, or under a wrong name."""
    history(lake, 14)
    cover(lake, report(12))
    assert "14 toots of 12 reported statuses, more than there are" in (
        coverage_is_plausible(lake, TABLE, [TODAY]).summary
    )
    cover(lake, report(13))
    assert coverage_is_plausible(lake, TABLE, [TODAY]).passed, "a toot at midnight"


@pytest.mark.parametrize("newest", [0, 9])
def test_a_share_that_fell_is_found(lake: Lake, newest: int) -> None:
    """A listener that lost most of a week, or all of it."""
    history(lake, newest, 30, 28)
    cover(lake, report(100, 100, 100))
    assert f"{newest} toots of 100 reported statuses ({newest}.0%), formerly 29.0%" in (
        coverage_is_plausible(lake, TABLE, [TODAY]).summary
    )


def test_a_quiet_server_raises_no_alarm(lake: Lake) -> None:
    """A few statuses more or less say nothing."""
    history(lake, 0, 12, 11)
    cover(lake, report(40, 40, 40))
    assert coverage_is_plausible(lake, TABLE, [TODAY]).passed


def test_the_asset_asks_the_configured_servers_and_warns(
    lake: Lake,
    servers: Simulator,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that refuses fails nothing; a planted error is a warning."""
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)
    today = datetime.now(UTC).date()
    week = HOUR.replace(year=today.year, month=today.month, day=today.day) - timedelta(weeks=1)
    counted(lake, 90, week, "told.example")
    outcome = dg.materialize(
        [server_coverage],
        partition_key=f"{today}",
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
    )
    (told,) = outcome.asset_materializations_for_node(TABLE)
    assert told.metadata["dagster/row_count"].value == 11 + 2
    (found,) = outcome.get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert re.search(
        r"told.example, .* 90 toots of \d+ reported statuses, more than there are",
        found.description or "",
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
