"""The tables with a file a UTC day, made from the day's toots whenever these change.

To add one, write its query and declare it here, in `DAILY_TABLES`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.charts.chart import Chart
from mastodon_pipeline.usage.charts.daily import (
    draw_apps,
    draw_hours_of_day,
    draw_language_density,
    draw_languages,
)
from mastodon_pipeline.usage.checks.check import Check
from mastodon_pipeline.usage.checks.days import (
    DAY_EQUALS_ITS_HOURS,
    MENTIONS_ARE_POSSIBLE,
    TOOTS_SUM_TO_THE_DAY,
)
from mastodon_pipeline.usage.tables.active_users import ACTIVE_USERS
from mastodon_pipeline.usage.tables.building import build_partition, keep_rows
from mastodon_pipeline.usage.tables.languages import language_names
from mastodon_pipeline.usage.tables.table import BuiltPartition, Column, Grain, Table


def build_daily(lake: Lake, day: date, table: Table[date], **values: object) -> BuiltPartition:
    """Build a UTC day of a daily table, from those of its hours whose toots are built.

    `values` replace the table's own parameters. What counts words is left as it is once the text is
    gone (PERSON_RETENTION_DAYS), or gets no rows if it was not counted before.
    """
    path = table.path(lake.layout, day)

    def list_toots() -> Sequence[StoredFile]:
        return lake.parquet_files(lake.layout.toots_day(day))

    def query_values(toots: Sequence[StoredFile]) -> Mapping[str, object]:
        inputs = {
            "toots_files": [lake.empty_record, *(file.path for file in toots)],
            "day": day,
            "built_from": fingerprint(toots),
        }
        return {**inputs, **values}

    midnight = datetime.combine(day, time(), UTC)
    if table.of_text and lake.forgotten.current().is_past_retention(midnight):
        if lake.parquet_files(path):
            return keep_rows(lake, path, list_toots)
        values = {**values, **_NO_TERMS}
    return build_partition(lake, table, path, list_toots, query_values)


def _daily_table(
    name: str,
    description: str,
    *columns: Column,
    check: Check[date] = TOOTS_SUM_TO_THE_DAY,
    parameters: Callable[[], Mapping[str, object]] = dict,
    charts: tuple[Chart, ...] = (),
    of_text: bool = False,
) -> Table[date]:
    """Declare a table made from a day's toots."""

    def path(layout: Layout, day: date) -> str:
        return layout.daily(name, day)

    def build(lake: Lake, day: date) -> BuiltPartition:
        return build_daily(lake, day, table)

    table: Table[date] = Table(
        name=name,
        grain=Grain.DAY,
        description=description,
        sources=("toots",),
        columns=columns,
        checks=(check,),
        path=path,
        build=build,
        parameters=parameters,
        charts=charts,
        of_text=of_text,
    )
    return table


def _language_names() -> Mapping[str, object]:
    names = language_names()
    return {"language_codes": list(names), "language_names": list(names.values())}


def _terms() -> Mapping[str, object]:
    return {"terms": list(load_settings().terms)}


_NO_TERMS: Mapping[str, object] = {"terms": []}
"""Of `term_mentions`, the one table of words."""

DAY = Column("day", "DATE", "The UTC day", ("created_at",))
TOOT_COUNT = Column(
    "toots",
    "BIGINT",
    "Public top-level toots posted on the day and seen, also those deleted since",
    ("uri",),
)
USER_COUNT = Column(
    "users",
    "BIGINT",
    "Distinct accounts (name and home server) that posted them",
    ("username", "server"),
)
LANGUAGE = (
    Column(
        "language_primary",
        "VARCHAR",
        "Its code, by ISO 639-1 where it has one; '' if unknown",
        ("language_primary",),
    ),
    Column(
        "language_name",
        "VARCHAR",
        "In English; unknown for '', and the code itself if it has no name",
        ("language_primary",),
    ),
)


def _characters(name: str, type: str, description: str) -> Column:
    return Column(name, type, description, ("characters",))


DAILY_USAGE = _daily_table(
    "daily_usage",
    """One row a UTC day: toots, users, servers, and who was most frequent.

    Public top-level toots that a configured server listed, also those deleted since. An account is
    a name on a home server; of equally frequent ones the alphabetically first is named.
    """,
    DAY,
    TOOT_COUNT,
    USER_COUNT,
    Column("servers", "BIGINT", "Distinct home servers", ("server",)),
    Column(
        "most_frequent_non_bot",
        "VARCHAR",
        "The account with the most toots that is no bot; a pseudonym after PERSON_RETENTION_DAYS",
        ("username", "server", "bot"),
        previewed=False,
    ),
    Column(
        "most_frequent_bot",
        "VARCHAR",
        "The bot with the most toots, likewise; null if none posted",
        ("username", "server", "bot"),
        previewed=False,
    ),
    Column("most_frequent_server", "VARCHAR", "The home server with the most toots", ("server",)),
    check=DAY_EQUALS_ITS_HOURS,
)

APP_USAGE = _daily_table(
    "app_usage",
    """A UTC day's toots and users by posting application, the most used first.

    Public top-level toots, bots' included. Only an author's home server names the application: the
    row with the empty name holds the toots of homes that are not listened to, or do not name it.
    """,
    DAY,
    Column(
        "app",
        "VARCHAR",
        "The posting application, as the home server names it; '' if unknown",
        ("app",),
    ),
    TOOT_COUNT,
    USER_COUNT,
    charts=(
        Chart(
            "app",
            "A day's most used applications, of the toots whose home server names theirs.",
            draw_apps,
        ),
    ),
)

HOUR_OF_DAY_USAGE = _daily_table(
    "hour_of_day_usage",
    """A UTC day's toots and users by hour of the day: 24 rows.

    Public top-level toots by the time at which they were posted. An hour's zero may also mean that
    nobody was listening, or, today, that it is yet to come.
    """,
    DAY,
    Column("hour_of_day", "INTEGER", "0 to 23, UTC; each has its row", ("created_at",)),
    TOOT_COUNT,
    USER_COUNT,
    charts=(Chart("hour_of_day", "A day's toots by hour of the day (UTC).", draw_hours_of_day),),
)

LANGUAGE_USAGE = _daily_table(
    "language_usage",
    """A UTC day's toots and users by language, the most used first.

    Public top-level toots by the language that their authors' client set. However it is spelled, a
    language is one row: zh-CN, zh-TW, zho, zhHk are zh. Toots without one are a row, unknown.
    """,
    DAY,
    *LANGUAGE,
    TOOT_COUNT,
    USER_COUNT,
    parameters=_language_names,
    charts=(
        Chart(
            "language",
            "A day's most used languages; the others, and the unknown, each as one.",
            draw_languages,
        ),
    ),
)

LANGUAGE_DENSITY = _daily_table(
    "language_density",
    """How long a UTC day's toots are in each language: quartiles of their characters.

    Public top-level toots, those of pictures alone (no characters) and deleted ones included;
    characters are Unicode code points of the plain text.
    """,
    DAY,
    *LANGUAGE,
    _characters("min", "INTEGER", "Characters of the shortest toot"),
    _characters("q1", "DOUBLE", "Characters that a quarter of the toots do not exceed"),
    _characters("median", "DOUBLE", "Characters that half of the toots do not exceed"),
    _characters("q3", "DOUBLE", "Characters that three quarters of the toots do not exceed"),
    _characters("max", "INTEGER", "Characters of the longest toot"),
    TOOT_COUNT,
    parameters=_language_names,
    charts=(
        Chart(
            "language_density",
            "How long a day's toots are in its most used languages: a box plot of characters.",
            draw_language_density,
        ),
    ),
)

TERM_MENTIONS = _daily_table(
    "term_mentions",
    """How many of a UTC day's public toots mention each of the words and phrases in `TERMS`.

    Whole words in any case, hashtags and addresses included. Mentions in toots that were deleted,
    or whose authors set noindex, are not found, since their text is not kept. Days keep the terms
    with which they were built; materialize them again after a change of `TERMS`. Once their text
    is gone, after PERSON_RETENTION_DAYS, they stay: toots that come later are not searched.
    """,
    DAY,
    Column("term", "VARCHAR", "The word or phrase of TERMS, lower case; each has its row"),
    Column(
        "toots",
        "BIGINT",
        "Toots of the day whose text, as far as it is kept, mentions it",
        ("mastodon_text",),
    ),
    Column("mentions", "BIGINT", "How often they do so, in all", ("mastodon_text",)),
    check=MENTIONS_ARE_POSSIBLE,
    parameters=_terms,
    of_text=True,
)


def _part(name: str, share: str, of: str, *made_from: str) -> tuple[Column, Column]:
    return (
        Column(name, "BIGINT", f"Those of the toots {of}", made_from),
        Column(share, "DOUBLE", f"The share of the toots {of}, from 0 to 1", made_from),
    )


_PARTS = (
    _part("with_media", "media_share", "with pictures, videos or sound", "media", "server"),
    _part("with_poll", "poll_share", "that ask their readers to vote", "has_poll", "server"),
    _part("with_warning", "warning_share", "behind a content warning", "sensitive", "server"),
    _part(
        "with_quote",
        "quote_share",
        "that quote another, of those of which it is known",
        *("has_quote", "server"),
    ),
    _part("self_replies", "self_reply_share", "that answer the author's own", "reply", "server"),
    _part(
        "with_links",
        "link_share",
        "with links, mentions and hashtags apart, of those of which it is known",
        *("links", "server"),
    ),
)

MEDIA_USAGE = _daily_table(
    "media_usage",
    """A UTC day's toots with more than text, by home server: pictures, polls, content warnings,
    quotes, links, threads.

    Public top-level toots, also those deleted since. What a server leaves out counts as not there.
    Quotes and links are recorded since 2026-11-27: the shares are of the toots recorded since, and
    null if there are none.
    """,
    DAY,
    Column("server", "VARCHAR", "The authors' home server", ("server",)),
    TOOT_COUNT,
    *(count for count, _ in _PARTS),
    *(share for _, share in _PARTS),
)

DAILY_TABLES = (
    DAILY_USAGE,
    APP_USAGE,
    HOUR_OF_DAY_USAGE,
    LANGUAGE_USAGE,
    LANGUAGE_DENSITY,
    TERM_MENTIONS,
    MEDIA_USAGE,
    ACTIVE_USERS,
)
"""What is built again whenever a day's toots have changed."""
