"""The tables with a file an hour: `toots`, and the counts that follow every toot."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.replacing import replace_file
from mastodon_pipeline.schemas import RecordField, record_fields
from mastodon_pipeline.usage.charts.chart import Chart
from mastodon_pipeline.usage.charts.hourly import (
    BUSIEST_ROWS,
    BUSIEST_SERVERS,
    draw_servers_by_hour,
    draw_toots_per_server,
)
from mastodon_pipeline.usage.checks.hours import HOUR_EQUALS_RECOUNT, NO_DUPLICATE_TOOTS
from mastodon_pipeline.usage.inputs.clock_skew import HOUR, counted_just_before
from mastodon_pipeline.usage.inputs.hour_records import HourRecords, hour_records
from mastodon_pipeline.usage.tables.building import build_from_toots, count_rows, write_rows
from mastodon_pipeline.usage.tables.hashtags import HASHTAG_USAGE
from mastodon_pipeline.usage.tables.table import BuiltPartition, Column, Grain, Table

WHOLE = {"slices": 1, "slice": 0}
"""Parameters of the query of `toots` that leave nothing out."""


def build_toots(lake: Lake, hour: datetime) -> BuiltPartition:
    """Build the hour's landed records into one row a toot. `hour`: its start, UTC.

    An hour in which nothing landed gets a table without rows. But if the table has toots and the
    landed files are gone, it is left unchanged; and if maintenance removed them, what landed since
    is merged with it (see `hour_records`).

    The hour before must be built first: by its table the toots of clocks that run ahead are counted
    once (see `clock_skew`).

    A delete whose toot the listener could not name any more lands in the hour of its arrival, and
    is applied only if the toot was posted in that hour.

    Raises RecordsGone if the landed files were removed and the table is gone as well.
    """
    path = TOOTS.path(lake.layout, hour)
    attempts = 0
    notes: list[str] = []

    def make(_: Sequence[StoredFile], local: str) -> BuiltPartition:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            # Another build was faster: it may have known of newer files, or of who was forgotten.
            lake.landed.expire()
            lake.forgotten.expire()
        with hour_records(lake, hour) as records:
            if not records.landed and lake.parquet_files(path):
                note = f"{path} is left unchanged: the landed files that it was made from are gone"
                return BuiltPartition(
                    path, count_rows(lake, path), 0, unchanged=True, notes=(note,)
                )
            try:
                rows = write_toots(lake, hour, records, local)
                return BuiltPartition(path, rows, len(records.landed), notes=tuple(notes))
            except duckdb.Error:
                damaged = lake.landed.mark_unreadable(file.path for file in records.landed)
                if not damaged:
                    raise
        # They are left out, and `every_toot_has_an_hour` names them until somebody removes them.
        notes.extend(f"{file.path} is left out: {file.reason}" for file in damaged)
        return make(_, local)

    # Landed files are never written twice under one name, so they are listed once.
    return replace_file(lake, path, make)


def write_toots(lake: Lake, hour: datetime, records: HourRecords, path: str) -> int:
    """Write the hour's `toots` to a local path, a slice after the other; return its rows."""
    values = {
        "raw_files": list(records.paths),
        "hour_start": hour,
        "hour_end": hour + HOUR,
        "empty_record": lake.empty_record,
        "built_from": fingerprint(records.landed),
        "past_retention": lake.forgotten.current().is_past_retention(hour),
        **counted_just_before(lake, hour),
    }
    if records.slices == 1:
        return write_rows(lake, TOOTS, path, {**values, **WHOLE})
    with TemporaryDirectory(prefix="slices-", dir=Path(path).parent) as directory:
        files = [f"{directory}/{number}.parquet" for number in range(records.slices)]
        for number, file in enumerate(files):
            sliced = {**values, "slices": records.slices, "slice": number}
            write_rows(lake, TOOTS, file, sliced)
        values = {"slice_files": files, "built_from": values["built_from"], "path": path}
        joined = lake.connection.execute(query("usage/tables/joined_toots"), values)
        return int((joined.fetchone() or (0,))[0])


def build_toots_per_server(lake: Lake, hour: datetime) -> BuiltPartition:
    """Count the hour's toots by home server. `hour`: its start, UTC.

    Raises TableError if the hour's `toots` have not been built.
    """
    return build_from_toots(lake, TOOTS_PER_SERVER_PER_HOUR, hour)


_IN_QUERY = {"event", "uri", "source", "created_at", "edited_at", "ingested_at"}
"""Fields that the query of `toots` reads by name; all others it carries along."""


def carried_fields(fields: Sequence[RecordField] = record_fields()) -> Mapping[str, list[str]]:
    """Group the fields that `toots` carries along by what stands for a value that is missing.

    A file from before a field was added lacks its column.
    """
    groups: dict[str, list[str]] = {
        name: [] for name in ("texts", "numbers", "flags", "lists", "nullable")
    }
    for field in fields:
        if field.name not in _IN_QUERY:
            groups[_group(field)].append(field.name)
    return groups


def _group(field: RecordField) -> str:
    match field.default:
        case None:
            return "nullable"
        case bool():
            return "flags"
        case str():
            return "texts"
        case list():
            return "lists"
        case _:
            return "nullable" if field.is_time else "numbers"


_DESCRIPTIONS = {
    "event": "What the newest record was: update or status.update (an edit)",
    "uri": "The toot's identity across all servers; host and hash after PERSON_RETENTION_DAYS",
    "status_id": "The id on the server that reported the newest version; opaque",
    "base_url": "The server that reported the newest version",
    "edited_at": "UTC, of the newest edit; null if never edited",
    "ingested_at": "UTC, when the listener read the newest version",
    "source": "How the newest version was read: stream, poll, gap, past or replay",
    "app": "The posting application, as the home server names it; '' if unknown",
    "favourites": "How many accounts had marked it as a favourite at that reading",
    "tag_names": "The hashtags; empty if deleted or the author opted out",
    "mastodon_text": "Plain text; '' if deleted, if the author opted out, or after"
    " PERSON_RETENTION_DAYS",
}
"""Of the columns of `toots` that say something else than the record's field of the same name."""
_MADE_FROM = {
    # A delete, or a version whose text was withheld, empties them.
    "tag_names": ("tag_names", "characters", "event"),
    "mastodon_text": ("mastodon_text", "characters", "event"),
}
_PREVIEWED_TEXTS = {"base_url", "server", "app", "language", "language_primary"}


def _toot_column(field: RecordField) -> Column:
    is_text = field.duckdb_type.startswith("VARCHAR")
    return Column(
        field.name,
        field.duckdb_type,
        _DESCRIPTIONS.get(field.name, field.doc),
        _MADE_FROM.get(field.name, (field.name,)),
        previewed=not is_text or field.name in _PREVIEWED_TEXTS,
    )


TOOTS: Table[datetime] = Table(
    name="toots",
    grain=Grain.HOUR,
    description="""Every public top-level toot seen, once, by the hour in which it was posted (UTC).

    Made from the landed records of the hour: duplicates, and reports of the same toot by several
    servers, are one row: the newest edit, by the word of the toot's home server if that is listened
    to. Deleted toots stay, as they were published, without their text; toots of authors who opted
    out of being indexed are counted, and neither text, hashtags nor name are kept. After
    PERSON_RETENTION_DAYS, if set, pseudonyms stand for everybody's name, and addresses and texts
    are gone. Not in it, since Mastodon's public feeds leave them out: replies to others, boosts,
    unlisted posts.
    """,
    sources=("landed_toots",),
    columns=(
        *map(_toot_column, record_fields()),
        Column(
            "seen_by", "VARCHAR[]", "The servers that listed the toot, by base URL", ("base_url",)
        ),
        Column("deleted", "BOOLEAN", "A server reported its deletion", ("event",)),
    ),
    checks=(NO_DUPLICATE_TOOTS,),
    path=Layout.toots,
    build=build_toots,
    parameters=carried_fields,
    group="toots",
)

TOOTS_PER_SERVER_PER_HOUR: Table[datetime] = Table(
    name="toots_per_server_per_hour",
    grain=Grain.HOUR,
    description="""How many toots each home server's accounts posted in each hour (UTC), and how
    many servers saw them.

    Public top-level toots that a configured server listed, also those deleted since. A server that
    is not listened to itself counts only with what its neighbours saw of it.
    """,
    sources=("toots",),
    columns=(
        Column("hour", "TIMESTAMPTZ", "Start of the hour, UTC", ("created_at",)),
        Column("server", "VARCHAR", "The authors' home server", ("server",)),
        Column(
            "toots",
            "BIGINT",
            "Public top-level toots posted in the hour and seen, also those deleted since",
            ("uri",),
        ),
        Column("users", "BIGINT", "Distinct accounts that posted them", ("username",)),
        Column("bots", "BIGINT", "Those of the users marked as automated", ("username", "bot")),
        Column(
            "replies",
            "BIGINT",
            "Those of the toots that answer another of the author's own",
            ("reply",),
        ),
        Column(
            "languages",
            "BIGINT",
            "Distinct primary languages; unknown ones are not counted",
            ("language_primary",),
        ),
        Column("seen_by", "BIGINT", "Distinct servers that listed the toots", ("seen_by",)),
    ),
    checks=(HOUR_EQUALS_RECOUNT,),
    path=Layout.toots_per_server,
    build=build_toots_per_server,
    charts=(
        Chart(
            "toots_per_server",
            "A day's toots per hour (UTC) for its busiest home servers.",
            draw_toots_per_server,
            query="usage/charts/toots_per_server",
            parameters={"top": BUSIEST_SERVERS},
            columns_if_empty=("hour_of_day", "server", "toots"),
        ),
        Chart(
            "servers_by_hour",
            "A day's heat map: its busiest home servers by hours (UTC).",
            draw_servers_by_hour,
            query="usage/charts/toots_per_server",
            parameters={"top": BUSIEST_ROWS},
            columns_if_empty=("hour_of_day", "server", "toots"),
        ),
    ),
)

HOURLY_TABLES = (TOOTS, TOOTS_PER_SERVER_PER_HOUR, HASHTAG_USAGE)
