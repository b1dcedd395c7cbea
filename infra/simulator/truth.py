"""What was really published: the figures that a pipeline has to compute."""

from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from infra.simulator.content import Toot
from infra.simulator.status import iso


class TrueToot(msgspec.Struct, frozen=True):
    """A public toot in its current state, deleted or not."""

    uri: str
    server: str
    """The author's home server, for which it counts, even if several servers list it."""
    created_at: str
    """UTC with milliseconds: `2026-11-24T09:30:00.123Z`."""
    hour: str
    """The UTC hour of `created_at`: `2026-11-24-09`."""
    username: str
    bot: bool
    language: str | None
    app: str
    """As the home server shows it, '' if hidden; copies on other servers do not have it."""
    reply: bool
    """A reply to oneself; replies to other authors are in no public feed."""
    tags: int
    mentions: int
    media: int
    noindex: bool
    indexable: bool
    edited: bool
    deleted: bool
    """It still counts. Only a listener that was away from before the toot until after its delete
    cannot know of it, because no server lists it any more."""
    text: str
    """The plain text that the pipeline should store: '' if deleted or the author set noindex."""
    texts: tuple[str, ...]
    """The plain text of every version."""
    listed: dict[str, str]
    """Each observing server's domain to its id of the toot."""


class ServerHour(msgspec.Struct, frozen=True):
    """The number of toots that a home server published in an hour."""

    hour: str
    server: str
    toots: int
    users: int


def true_toots(
    toots: Iterable[Toot],
    id_text: Mapping[str, Callable[[int], str]],
    noindex_by_default: Collection[str] = (),
) -> list[TrueToot]:
    """Return the truth of the toots published so far, in order of publication.

    `id_text` formats the ids of each server; `noindex_by_default` names the servers on which no
    author can set `noindex`, as it is true of all who have not opted in to search.
    """
    return [_true(toot, id_text, noindex_by_default) for toot in toots if toot.published]


def toots_per_server_per_hour(toots: Iterable[TrueToot]) -> list[ServerHour]:
    """Count toots by hour of creation and home server, sorted by both."""
    groups: dict[tuple[str, str], list[TrueToot]] = {}
    for toot in toots:
        groups.setdefault((toot.hour, toot.server), []).append(toot)
    return [
        ServerHour(hour, server, len(group), len({toot.username for toot in group}))
        for (hour, server), group in sorted(groups.items())
    ]


def _true(
    toot: Toot, id_text: Mapping[str, Callable[[int], str]], noindex_by_default: Collection[str]
) -> TrueToot:
    created_at, author = iso(toot.created_at), toot.author
    noindex = author.noindex and author.server not in noindex_by_default
    withheld = toot.deleted or noindex
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
        noindex=noindex,
        indexable=author.indexable,
        edited=toot.edited_at is not None,
        deleted=toot.deleted,
        text="" if withheld else toot.body.text,
        texts=(*(body.text for body in toot.earlier), toot.body.text),
        listed={domain: id_text[domain](number) for domain, number in toot.listed.items()},
    )
