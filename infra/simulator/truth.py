"""What was really published: the figures that a pipeline has to arrive at."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from infra.simulator.content import Toot
from infra.simulator.status import iso


class TrueToot(msgspec.Struct, frozen=True):
    """One public toot as it stands now. Deleted ones were published all the same."""

    uri: str
    server: str
    """The author's home server, where it counts, however many servers list it."""
    created_at: str
    """UTC with milliseconds: `2026-11-24T09:30:00.123Z`."""
    hour: str
    """The UTC hour of `created_at`: `2026-11-24-09`."""
    username: str
    bot: bool
    language: str | None
    app: str
    """As the home server tells it, '' where hidden; copies on other servers never carry it."""
    reply: bool
    """A reply to oneself; replies to others are in no public feed."""
    tags: int
    mentions: int
    media: int
    noindex: bool
    indexable: bool
    edited: bool
    deleted: bool
    """Counts all the same; only a listener that was away from before the toot until after its
    delete cannot know of it, since nothing lists it any more."""
    text: str
    """The plain text to be found in the end: '' where deleted, or the author said noindex."""
    texts: tuple[str, ...]
    """What the author wrote, version by version."""
    listed: dict[str, str]
    """Each observing server's domain to its id of the toot."""


class ServerHour(msgspec.Struct, frozen=True):
    """What a home server published in an hour."""

    hour: str
    server: str
    toots: int
    users: int


def true_toots(
    toots: Iterable[Toot], id_text: Mapping[str, Callable[[int], str]]
) -> list[TrueToot]:
    """The truth of those that are published by now, in the order of publication.

    `id_text`: how each server writes its ids.
    """
    return [_true(toot, id_text) for toot in toots if toot.published]


def toots_per_server_per_hour(toots: Iterable[TrueToot]) -> list[ServerHour]:
    """Counted by hour of creation and home server, in that order."""
    found: dict[tuple[str, str], list[TrueToot]] = {}
    for toot in toots:
        found.setdefault((toot.hour, toot.server), []).append(toot)
    return [
        ServerHour(hour, server, len(those), len({toot.username for toot in those}))
        for (hour, server), those in sorted(found.items())
    ]


def _true(toot: Toot, id_text: Mapping[str, Callable[[int], str]]) -> TrueToot:
    created_at, author = iso(toot.created_at), toot.author
    gone = toot.deleted or author.noindex
    return TrueToot(
        uri=toot.uri,
        server=toot.server,
        created_at=created_at,
        hour=created_at[:13].replace("T", "-"),
        username=author.username,
        bot=author.bot,
        language=toot.language,
        app=author.app[0] if author.app else "",
        reply=toot.reply_to is not None,
        tags=len(toot.tags),
        mentions=len(toot.mentions),
        media=toot.media,
        noindex=author.noindex,
        indexable=author.indexable,
        edited=toot.edited_at is not None,
        deleted=toot.deleted,
        text="" if gone else toot.body.text,
        texts=(*(body.text for body in toot.earlier), toot.body.text),
        listed={domain: id_text[domain](number) for domain, number in toot.listed.items()},
    )
