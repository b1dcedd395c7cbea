"""What servers report of themselves: the yardstick for what was counted of them.

`GET /api/v1/instance/activity`, twelve weeks. What it counts, by Mastodon's source: each status
that a local account created, public or unlisted, **replies to others and boosts included**, and
those deleted since. Public feeds hold public top-level toots alone. So the share of the reported
that is counted here lies well below 1 where nothing was missed, and differs from server to server:
it says something beside the same server's other weeks.

A week begins at the moment of the answer, so many weeks ago, and its figure covers that UTC day
and the five after it: the range of days that Mastodon sums leaves out its last. The answer is up
to a day old, since Mastodon caches it.

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
WEEKS = 13
"""How far back a week may begin: Mastodon tells twelve of them."""
MOST = 10**15
"""No server has more statuses in a week; one that says so is not believed beyond."""
LONGEST = 253
"""Characters of a domain, by the rules of DNS."""
AT_ONCE = 8
"""Servers that are asked side by side; each of them gets two requests, one after the other."""


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
    """The domain in its accounts' addresses; the host of `base_url` where it did not tell."""
    weeks: tuple[ReportedWeek, ...]
    """Those whose days were over, the newest first."""
    reason: str = ""
    """Why there are none; '' where it answered."""


def ask_servers(servers: Sequence[Server], settings: Settings, today: date) -> list[ServerReport]:
    """Asks every server, 8 at a time, in their order. `today`: UTC. Never raises for an answer."""
    with ThreadPoolExecutor(AT_ONCE, "server activity") as workers:
        return list(workers.map(partial(ask_server, settings=settings, today=today), servers))


def ask_server(server: Server, settings: Settings, today: date) -> ServerReport:
    """Asks one server for its domain and its weeks; takes a minute at the longest.

    Never raises: a server that refuses, is switched off or makes no sense is a report with the
    reason. Without our token: the figures are public, or not to be had.
    """
    # Here, since whoever only asks which tables there are should not wait for HTTP clients.
    from mastodon_pipeline.listening.client.reasons import network_reason
    from mastodon_pipeline.listening.client.session import ServerSession
    from mastodon_pipeline.listening.following.discovery import asking, discover, mastodon_client

    domain = urlsplit(server.base_url).hostname or server.name
    session = ServerSession(settings.user_agent, settings.mastodon_allow_private_addresses)
    with closing(session):
        try:
            client = mastodon_client(server, None, session)
            domain = scrub(discover(server, client).domain)[:LONGEST]
            with asking(server, client):
                told = client.instance_activity()
            weeks = {
                week.week.astimezone(UTC).date(): max(0, min(int(week.statuses), MOST))
                for week in told
            }
        except Exception as error:
            # Whatever one server answers, the others' figures are still wanted.
            return ServerReport(server.base_url, domain, (), scrub(network_reason(error)))
    known = [day for day in weeks if today - timedelta(weeks=WEEKS) <= day <= today - WEEK]
    newest_first = tuple(ReportedWeek(day, weeks[day]) for day in sorted(known, reverse=True))
    reason = "" if newest_first else "it reports no week of the last twelve that is over"
    return ServerReport(server.base_url, domain, newest_first, reason)
