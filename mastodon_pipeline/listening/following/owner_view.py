"""What a token's owner does not see of a public timeline, and so does not stream either.

A server leaves out, in streams and timelines alike, what the owner of the token has filtered out:
languages that they have not chosen, and accounts and servers that they block or mute. No API says
so (Mastodon keeps the choice of languages to itself): only the timeline that anybody may read, read
with the token and without it, shows it.

See: Mastodon's `PublicFeed#language_scope` and `#account_filters_scope`, and streaming/index.js
"""

from collections.abc import Sequence

from mastodon_pipeline.errors import InvalidRecord
from mastodon_pipeline.listening.protocol.ids import later
from mastodon_pipeline.listening.protocol.statuses import decode_status
from mastodon_pipeline.listening.records.language import primary_language

_SHOWN_LANGUAGES = 5
_DELETED_MEANWHILE = 1
"""Toots that everybody's page may still show from a cache."""


def hidden_from_owner(everybody: Sequence[bytes], owner: Sequence[bytes]) -> str:
    """Describe what the owner's page lacks of everybody's, both oldest first; '' for nothing.

    Everybody's page may be older, from a cache: only what lies between the oldest and the newest
    status of both is compared.
    """
    public, seen = _languages(everybody), _languages(owner)
    if not public:
        return ""
    start, end = next(iter(public)), next(reversed(public))
    if len(seen) >= len(public):  # A shorter page begins where the timeline begins.
        start = later(start, next(iter(seen)))
    span = [status_id for status_id in public if _between(start, status_id, end)]
    hidden = [status_id for status_id in span if status_id not in seen]
    if len(hidden) <= _DELETED_MEANWHILE:
        return ""
    missing = {public[status_id] for status_id in hidden} - {""}
    if missing and missing.isdisjoint(seen.values()):
        names = sorted(missing)
        shown = ", ".join(names[:_SHOWN_LANGUAGES]) + (", ..." * (len(names) > _SHOWN_LANGUAGES))
        return (
            f"its owner has chosen languages, so the server leaves out others ({shown}): deselect"
            " all in the server's Preferences, under Other, Filter languages"
        )
    return (
        f"the server leaves out {len(hidden)} of {len(span)} toots that its owner blocks, mutes or"
        " filters: use an account without these"
    )


def _languages(page: Sequence[bytes]) -> dict[str, str]:
    """Return the language of each status by id."""
    languages = {}
    for payload in page:
        try:
            status = decode_status(payload)
        except InvalidRecord:
            continue
        languages[str(status.id)] = primary_language(status.language or "")
    return languages


def _between(start: str, status_id: str, end: str) -> bool:
    return later(start, status_id) == status_id and later(status_id, end) == end
