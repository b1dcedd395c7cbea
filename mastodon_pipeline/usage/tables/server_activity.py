"""What servers report of themselves: the yardstick for what was counted of them.

`GET /api/v1/instance/activity`, twelve weeks. What it counts, by Mastodon's source: each status
that a local account created, public or unlisted, **replies to others and boosts included**, and
those deleted since. Public feeds hold only public top-level toots. So the counted share of the
reported lies well below 1 even if nothing was missed, and differs from server to server: compare it
with the same server's other weeks.

A week begins at the moment of the answer, N weeks ago, and its figure covers that UTC day and the
five after it: the range of days that Mastodon sums leaves out its last. The answer is up to a day
old, since Mastodon caches it.

See: https://docs.joinmastodon.org/methods/instance/#activity, and in Mastodon's source
`Api::V1::Instances::ActivityController`, `ActivityTracker#sum`, `Status#update_statistics`
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from functools import partial
from urllib.parse import urlsplit

from mastodon_pipeline.listening.protocol.text import scrub
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

WEEK = timedelta(days=6)
"""How many days a week's figure covers."""
MAX_WEEKS = 13
"""How many weeks ago a week may begin: Mastodon reports twelve."""
MAX_STATUSES = 10**15
"""No server has more statuses in a week; larger figures are cut to this."""
MAX_DOMAIN_LENGTH = 253
"""Characters of a domain, by the rules of DNS."""
CONCURRENT_SERVERS = 8
"""Servers that are asked at the same time; each gets two requests, one after the other."""
SERVER_SECONDS = 60.0
"""How long all of a server's answers may take together."""


@dataclass(frozen=True, slots=True)
class ReportedWeek:
    """A server's figure for six days."""

    first_day: date
    """UTC."""
    statuses: int


@dataclass(frozen=True, slots=True)
class ServerReport:
    """One server's answer."""

    base_url: str
    domain: str
    """The domain in its accounts' addresses; the host of `base_url` if it did not report one."""
    weeks: tuple[ReportedWeek, ...]
    """Those whose days are over, the newest first."""
    reason: str = ""
    """Why there are none; '' if it answered."""


def fetch_server_reports(
    servers: Sequence[Server], settings: Settings, today: date
) -> list[ServerReport]:
    """Ask all servers, 8 at a time; return their reports in the same order. `today`: UTC.

    Never raises for an answer.
    """
    with ThreadPoolExecutor(CONCURRENT_SERVERS, "server activity") as workers:
        return list(
            workers.map(partial(fetch_server_report, settings=settings, today=today), servers)
        )


def fetch_server_report(
    server: Server, settings: Settings, today: date, seconds: float = SERVER_SECONDS
) -> ServerReport:
    """Ask one server for its domain and its weeks, within `seconds`.

    Never raises: a server that refuses, is switched off or sends nonsense is a report with the
    reason. It is asked without our token: the figures are either public or not available.
    """
    # Here, not above: `mastodon-pipeline sql` imports the tables, and needs no HTTP clients.
    from mastodon_pipeline.listening.client.reasons import network_reason
    from mastodon_pipeline.listening.client.robots import ACTIVITY_PATH, read_rules
    from mastodon_pipeline.listening.client.session import (
        REQUEST_TIMEOUT_SECONDS,
        ServerSession,
        mastodon_client,
        translated_errors,
    )
    from mastodon_pipeline.listening.following.instance import fetch_instance_info

    domain = urlsplit(server.base_url).hostname or server.name
    session = ServerSession(settings.user_agent, settings.mastodon_allow_private_addresses, seconds)
    with closing(session):
        try:
            rules = read_rules(server.base_url, session, REQUEST_TIMEOUT_SECONDS)
            if refusal := rules.refusal(["/api/v2/instance", "/api/v1/instance", ACTIVITY_PATH]):
                return ServerReport(server.base_url, domain, (), refusal)
            client = mastodon_client(server, None, session)
            domain = scrub(fetch_instance_info(server, client).domain)[:MAX_DOMAIN_LENGTH]
            with translated_errors(server, client):
                activity = client.instance_activity()
            statuses = {
                week.week.astimezone(UTC).date(): max(0, min(int(week.statuses), MAX_STATUSES))
                for week in activity
            }
        except Exception as error:
            # Whatever one server answers, the others' figures are still wanted.
            return ServerReport(server.base_url, domain, (), scrub(network_reason(error)))
    over = [
        first_day
        for first_day in statuses
        if today - timedelta(weeks=MAX_WEEKS) <= first_day <= today - WEEK
    ]
    weeks = tuple(ReportedWeek(day, statuses[day]) for day in sorted(over, reverse=True))
    reason = "" if weeks else "it reports no week of the last twelve that is over"
    return ServerReport(server.base_url, domain, weeks, reason)
