"""A server's description of itself: `/api/v2/instance`, `/api/v1/instance` and its activity.

See: https://docs.joinmastodon.org/entities/Instance/ and /methods/instance/#activity
"""

import ssl
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from infra.simulator.content import Author
from infra.simulator.dialect import MASTODON, Dialect, Software
from infra.simulator.gotosocial import GOTOSOCIAL, gotosocial_instance
from infra.simulator.limits import MASTODON_LIMITS, Limits
from infra.simulator.status import account

Access = Literal["public", "authenticated", "disabled"]
WEEKS = 12


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """The configuration of a simulated server: access, limits and software."""

    domain: str
    token: bool = True
    """Whether a user's token exists; streaming is refused without one."""
    local_feed: Access = "public"
    remote_feed: Access = "public"
    chosen_languages: tuple[str, ...] = ()
    """The languages that the user with the token has chosen; () for all."""
    closed: bool = False
    """The whole API requires a user: it answers 401 to others (a closed feed answers 422)."""
    activity: bool = True
    """False: `/api/v1/instance/activity` is disabled (404)."""
    version: str = "4.5.3"
    thump_seconds: float = 15.0
    cache_seconds: float = 0.0
    """How long anonymous answers are cached; Mastodon's 15 s would only delay tests."""
    limits: Limits = MASTODON_LIMITS
    """Rate limits."""
    ignores_min_id: bool = False
    """As some software does: a page is then the newest one, or the one before `max_id`."""
    ignores_max_id: bool = False
    min_id_is_since_id: bool = False
    """As some software does: the newest page down to that id, without what exceeds the page."""
    page_limit: int = 40
    """Statuses of a page, at most, whatever is asked for."""
    software: Software = "mastodon"
    streams_apart: bool = False
    """Streaming has a separate address, as on large servers; the instance names it."""
    clock_ahead_seconds: float = 0.0
    """How far the clock of its `Date` headers is ahead of this machine's."""
    robots: str | None = None
    """Its robots.txt; None for none (404)."""
    streaming_robots: str | None = None
    """That of its streams' separate address."""
    tls: ssl.SSLContext | None = None
    """Serve https with this certificate."""

    @property
    def dialect(self) -> Dialect:
        """How its software presents ids, statuses and streams."""
        return GOTOSOCIAL if self.software == "gotosocial" else MASTODON


def gotosocial(domain: str, token: bool = True) -> ServerPolicy:
    """Return a GoToSocial server with its default configuration: no public timeline."""
    return ServerPolicy(
        domain, token=token, closed=True, version="0.20.2+git-1234567", software="gotosocial"
    )


def instance_v2(policy: ServerPolicy, streaming_url: str, contact: Author) -> dict[str, Any]:
    """Return the Instance entity of Mastodon 4.5, which names feed access, or GoToSocial's.

    `streaming_url` is the http address of the streaming server.
    """
    topics = {"local": "public", "remote": "public"}
    entity = {
        "domain": policy.domain,
        "title": policy.domain.partition(".")[0].title(),
        "version": policy.version,
        "source_url": "https://github.com/mastodon/mastodon",
        "description": "A simulated server; nobody on it is real.",
        "usage": {"users": {"active_month": 26}},
        "thumbnail": {"url": f"https://files.{policy.domain}/thumbnail.png"},
        "icon": [],
        "languages": ["en"],
        "configuration": {
            "urls": {
                "streaming": streaming_url.replace("http", "ws", 1),
                "status": None,
                "about": f"https://{policy.domain}/about",
                "privacy_policy": f"https://{policy.domain}/privacy-policy",
                "terms_of_service": None,
            },
            "vapid": {"public_key": ""},
            "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
            "statuses": {
                "max_characters": 500,
                "max_media_attachments": 4,
                "characters_reserved_per_url": 23,
            },
            "media_attachments": {"supported_mime_types": ["image/png", "image/webp"]},
            "polls": {"max_options": 4, "max_characters_per_option": 50},
            "translation": {"enabled": False},
            "timelines_access": {
                "live_feeds": {"local": policy.local_feed, "remote": policy.remote_feed},
                "hashtag_feeds": topics,
                "trending_link_feeds": topics,
            },
            "limited_federation": False,
        },
        "registrations": {"enabled": False, "approval_required": True, "message": None},
        "api_versions": {"mastodon": 7},
        "contact": {
            "email": f"postmaster@{policy.domain}",
            "account": account(contact, policy.domain),
        },
        "rules": [],
    }
    return gotosocial_instance(entity) if policy.software == "gotosocial" else entity


def instance_v1(policy: ServerPolicy, streaming_url: str, contact: Author) -> dict[str, Any]:
    """Return the older V1::Instance entity, which Mastodon still supports."""
    return {
        "uri": policy.domain,
        "title": policy.domain.partition(".")[0].title(),
        "short_description": "A simulated server; nobody on it is real.",
        "description": "",
        "email": f"postmaster@{policy.domain}",
        "version": policy.version,
        "urls": {"streaming_api": streaming_url.replace("http", "ws", 1)},
        "stats": {"user_count": 26, "status_count": 0, "domain_count": 2},
        "thumbnail": None,
        "languages": ["en"],
        "registrations": False,
        "approval_required": True,
        "invites_enabled": False,
        "configuration": {"statuses": {"max_characters": 500, "max_media_attachments": 4}},
        "contact_account": account(contact, policy.domain),
        "rules": [],
    }


def activity(created: list[int], now: datetime) -> list[dict[str, str]]:
    """Return weekly figures, newest first, all values as strings.

    `created` holds the UTC milliseconds of all statuses by local authors, including those in no
    public feed, as Mastodon counts them. The weeks have Mastodon's irregularity: a week starts at
    the time of the answer N weeks ago and covers that UTC day and the next five, so every seventh
    day is in no week, and the newest week is the current day.

    See: https://github.com/mastodon/mastodon, `Api::V1::Instances::ActivityController` and
    `ActivityTracker#sum`, whose range excludes its last day
    """
    days = Counter(datetime.fromtimestamp(at // 1000, UTC).date() for at in created)
    weeks = []
    for back in range(WEEKS):
        start = now - timedelta(weeks=back)
        statuses = sum(days[start.date() + timedelta(days=day)] for day in range(6))
        week = str(int(start.timestamp()))
        weeks.append({"week": week, "statuses": str(statuses), "logins": "0", "registrations": "0"})
    return weeks
