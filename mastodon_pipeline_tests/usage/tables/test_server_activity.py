"""What servers report of themselves, whatever they answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.simulator.simulator import Simulator
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.servers import Server, parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.tables.coverage import build_server_coverage
from mastodon_pipeline.usage.tables.server_activity import MAX_STATUSES, WEEK, fetch_server_reports
from mastodon_pipeline_tests.support.local_lake import HOUR, rows
from mastodon_pipeline_tests.support.serving import serving

TODAY = date(2026, 12, 1)
FIRST = HOUR.date()


def test_servers_without_figures_are_reports_with_the_reason(servers: Simulator) -> None:
    """Switched off is 404; a server that cannot be reached raises no error either."""
    settings = Settings(mastodon_allow_private_addresses=True)
    addresses = [*(server.base_url for server in servers.servers), "http://127.0.0.1:9"]
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    reporting, silent, closed, unreachable = fetch_server_reports(
        [parse_server(address) for address in addresses], settings, tomorrow
    )
    assert (reporting.domain, reporting.reason) == ("reporting.example", "")
    assert len(reporting.weeks) == 11, "today's week is not over"
    first_days = [week.first_day for week in reporting.weeks]
    assert first_days == sorted(set(first_days), reverse=True)
    assert (silent.domain, silent.weeks) == ("silent.example", ())
    assert silent.reason.startswith("404")
    assert closed.reason
    assert (unreachable.domain, unreachable.reason) == ("127.0.0.1", "connection refused")


def test_figure_of_a_week_is_the_servers_own_count_of_six_days(servers: Simulator) -> None:
    """Hidden toots included; today begins a week that is over six days later."""
    settings = Settings(mastodon_allow_private_addresses=True)
    server = servers.servers[0]
    later = datetime.now(UTC).date() + timedelta(days=6)
    (report,) = fetch_server_reports([parse_server(server.base_url)], settings, later)
    created = [datetime.fromtimestamp(at / 1000, UTC).date() for at in server.created]
    assert len(report.weeks) == 12
    assert sum(week.statuses for week in report.weeks) > 0
    for week in report.weeks:
        days = [day for day in created if week.first_day <= day < week.first_day + WEEK]
        assert week.statuses == len(days)


def test_private_addresses_are_not_asked_unless_allowed(servers: Simulator) -> None:
    """The same rules as for listening."""
    (report,) = fetch_server_reports([parse_server(servers.servers[0].base_url)], Settings(), TODAY)
    assert "is not https" in report.reason


@contextmanager
def answering(activity: bytes, domain: str = "odd.example") -> Iterator[Server]:
    """Run a server that answers with exactly this activity."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = activity if "activity" in self.path else f'{{"domain": "{domain}"}}'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield parse_server(f"http://127.0.0.1:{server.server_port}")


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
def test_answer_that_makes_no_sense_is_a_report_with_the_reason(activity: bytes) -> None:
    """A week of another century is none, so its days are not searched."""
    settings = Settings(mastodon_allow_private_addresses=True)
    with answering(activity) as server:
        (report,) = fetch_server_reports([server], settings, TODAY)
    assert report.reason
    assert report.weeks == ()


def test_absurd_figures_are_cut_to_size_and_absurd_domains_left_out(lake: Lake) -> None:
    """Any number can be stored; a domain with half a character in it is none."""
    week = int(datetime.combine(FIRST, time(), UTC).timestamp())
    activity = f'[{{"week": "{week}", "statuses": "{10**40}"}}]'.encode()
    settings = Settings(mastodon_allow_private_addresses=True)
    with answering(activity, domain=r"odd\ud800\u0000.example" + "x" * 999) as server:
        reports = fetch_server_reports([server], settings, TODAY)
    built = build_server_coverage(lake, TODAY, TODAY, lambda: reports)
    (row,) = rows(lake, built.path)
    assert (row["first_day"], row["reported"], row["reason"]) == (FIRST, MAX_STATUSES, "")
    assert row["server"] == "127.0.0.1"
