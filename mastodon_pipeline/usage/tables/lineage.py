"""Which columns each table's columns are made of: Dagster's column lineage, in this one place.

Named are the columns whose values a column holds or counts. That every table's toots are each
counted once goes by `uri`, and their day or hour by `created_at`.

See: https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage
"""

from collections.abc import Mapping

import dagster as dg

LANDED = "landed_toots"
TOOTS = "toots"
HOURS = "toots_per_server_per_hour"


def _from(source: str, /, **columns: str) -> dg.TableColumnLineage:
    """Each column, and the columns of one source that it comes from, between spaces."""
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(dg.AssetKey(source), name) for name in names.split()]
            for column, names in columns.items()
        }
    )


_UNCHANGED = (
    *("event", "uri", "status_id", "base_url", "server", "created_at", "edited_at"),
    *("ingested_at", "source", "username", "acct", "bot", "app", "url", "language"),
    *("language_primary", "favourites", "tags", "characters", "words", "mentions", "media"),
    *("visibility", "sensitive", "reply", "indexable"),
)
_DAY = {"day": "created_at", "toots": "uri"}
_USERS = {"users": "username server"}
_LANGUAGE = {"language_primary": "language_primary", "language_name": "language_primary"}

LINEAGE: Mapping[str, dg.TableColumnLineage] = {
    TOOTS: _from(
        LANDED,
        **{name: name for name in _UNCHANGED},
        # A delete, or a version whose text was withheld, empties them.
        tag_names="tag_names event",
        mastodon_text="mastodon_text characters event",
        seen_by="base_url",
        deleted="event",
    ),
    HOURS: _from(
        TOOTS,
        hour="created_at",
        server="server",
        toots="uri",
        users="username",
        bots="username bot",
        replies="reply",
        languages="language_primary",
        seen_by="seen_by",
    ),
    "daily_usage": _from(
        TOOTS,
        **_DAY,
        **_USERS,
        servers="server",
        most_frequent_non_bot="username server bot",
        most_frequent_bot="username server bot",
        most_frequent_server="server",
    ),
    "app_usage": _from(TOOTS, **_DAY, **_USERS, app="app"),
    "hour_of_day_usage": _from(TOOTS, **_DAY, **_USERS, hour_of_day="created_at"),
    "language_usage": _from(TOOTS, **_DAY, **_USERS, **_LANGUAGE),
    "language_density": _from(
        TOOTS,
        **_DAY,
        **_LANGUAGE,
        **dict.fromkeys(("min", "q1", "median", "q3", "max"), "characters"),
    ),
    # The terms come from the settings.
    "term_mentions": _from(
        TOOTS, **_DAY | {"toots": "mastodon_text"}, term="", mentions="mastodon_text"
    ),
    # The other columns come from the servers' answers.
    "server_coverage": _from(
        HOURS,
        **dict.fromkeys(("day", "server", "base_url", "first_day", "last_day"), ""),
        **dict.fromkeys(("reported", "reason"), ""),
        toots="toots server hour",
        share="toots server hour",
        hours_heard="server hour",
    ),
}
