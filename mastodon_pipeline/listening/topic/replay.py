"""Parquet back into the topic: our landed records, or those of the article's listener.

Doing it again changes nothing downstream: a toot is identified by its uri, however often it comes.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import duckdb

from mastodon_pipeline.errors import DeliveryFailed, ReplayError
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.listening.records.language import primary_language
from mastodon_pipeline.listening.records.people import PeopleRules
from mastodon_pipeline.listening.records.record import (
    FUTURE_TOLERANCE_MS,
    TootRecord,
    cut_short_fields,
)
from mastodon_pipeline.listening.records.sink import DeadLetter, TootSink
from mastodon_pipeline.schemas import RecordField, record_fields
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.servers import canonical_base_url

TOPIC_COLUMNS = frozenset({"event", "uri", "status_id", "base_url", "created_at", "mastodon_text"})
"""Columns by which a landed record of the topic is recognised."""
ARTICLE_COLUMNS = frozenset(
    {
        *("m_id", "created_at", "created_at_str", "app", "url", "base_url", "language"),
        *("favourites", "username", "bot", "tags", "characters", "words", "mastodon_text"),
    }
)
"""The article's columns, all fourteen."""
_EVERYBODY = PeopleRules()
_DELETED = "deleted"
"""The column of `toots` that marks a deleted toot."""
_ROWS_PER_FETCH = 2000
_ROWS_PER_TICK = 1000

Row = Mapping[str, Any]
"""Fields of a record by name, times in UTC milliseconds."""


@dataclass(slots=True)
class ReplayCounts:
    """How many rows of a replay had which outcome."""

    sent: int = 0
    acknowledged: int = 0
    dead_letters: int = 0
    excluded: int = 0
    """Of authors on a block list."""


def connect_local() -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB for local files."""
    return duckdb.connect(
        ":memory:", config={"threads": "1", "autoinstall_known_extensions": "false"}
    )


class ParquetToots:
    """The toots in Parquet files; a context manager, which closes the connection."""

    def __init__(
        self,
        globs: Sequence[str],
        connect: Callable[[], duckdb.DuckDBPyConnection] = connect_local,
        fields: Sequence[RecordField] = record_fields(),
    ) -> None:
        """Read the files' columns and count their rows.

        Raises ReplayError, and what `connect` raises.
        """
        for glob in globs:
            if "://" in glob and not glob.startswith("s3://"):
                raise ReplayError(f"{glob} is neither a local path nor one of s3://")
        self._parameters = {"paths": list(globs)}
        self._connection = connect()
        try:
            columns = self._fetch_all("replay_columns")
            [[self.row_count]] = self._fetch_all("replay_count")
            self._query = _query_for({name for name, *_ in columns})
        except duckdb.Error as error:
            self._connection.close()
            raise ReplayError(_message(error)) from None
        except ReplayError:
            self._connection.close()
            raise
        if self._query == "replay_topic":
            self._parameters["times"] = [field.name for field in fields if field.is_time]
            others = [field.name for field in fields if not field.is_time]
            self._parameters["others"] = [*others, _DELETED]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self) -> Iterator[Row]:
        """Read the rows, their source `replay`; fields that are null or absent are left out.

        Raises ReplayError if a file turns out to be broken, or a time is out of range.
        """
        try:
            rows = self._execute(self._query)
            names = [column[0] for column in rows.description or []]
            while batch := rows.fetchmany(_ROWS_PER_FETCH):
                for row in batch:
                    values = zip(names, row, strict=True)
                    yield {
                        **{name: value for name, value in values if value is not None},
                        "source": "replay",
                    }
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            raise ReplayError(_message(error)) from None

    def _execute(self, name: str) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(query(f"listening/topic/{name}"), self._parameters)

    def _fetch_all(self, name: str) -> list[tuple[Any, ...]]:
        return self._execute(name).fetchall()


def replay(
    rows: Iterator[Row],
    sink: TootSink,
    counts: ReplayCounts,
    tick: Callable[[int], None],
    rules: PeopleRules = _EVERYBODY,
) -> None:
    """Send the rows as records, and call `tick` with the number of rows since its last call.

    Rows of blocked authors are left out, and those of forgotten ones are nameless, by `rules`.

    The row of a deleted toot is sent with a delete behind it, so that the toot counts and stays
    deleted. A row that is no toot goes to the dead letters with its reason. **What can be lost
    here:** what the sink has not acknowledged when this is interrupted; replaying again brings it.
    Raises DeliveryFailed, and what `rows` raises.
    """

    def acknowledged() -> None:
        counts.acknowledged += 1

    for number, row in enumerate(rows, 1):
        try:
            record = _record({name: row[name] for name in row.keys() - {_DELETED}})
            if rules.blocks is not None and rules.blocks.block(record.username, record.server):
                counts.excluded += 1
                continue
            record = rules.without_forgotten(record)
            sink.send(record, _ignore if row.get(_DELETED) else acknowledged)
            if row.get(_DELETED):
                sink.send(_delete_of(record), acknowledged)
            counts.sent += 1
        except DeliveryFailed:
            raise
        except (ValueError, TypeError) as error:
            payload = json.dumps(row, default=str).encode("utf-8", "replace")
            base_url = str(row.get("base_url", ""))
            letter = DeadLetter(payload, str(error), base_url, "replay", type(error).__name__)
            sink.dead_letter(letter, lambda: None)
            counts.dead_letters += 1
        if number % _ROWS_PER_TICK == 0:
            sink.poll()
            tick(_ROWS_PER_TICK)


def _message(error: duckdb.Error) -> str:
    # Without the excerpt of our query, which says nothing to the reader.
    return " ".join(str(error).partition("\n\nLINE ")[0].split())[:300]


def _record(row: Row) -> TootRecord:
    if "created_at" not in row:
        raise ValueError("created_at is missing")
    if not row.get("uri") and not (row.get("status_id") and row.get("base_url")):
        raise ValueError("neither a uri nor an id on a server says which toot this is")
    # A record of the future would be in no table; a listener corrects such a time as well.
    latest = time.time_ns() // 1_000_000 + FUTURE_TOLERANCE_MS
    fields = cut_short_fields(row)
    fields["created_at"] = min(row["created_at"], latest)
    # Again: an older version, or another listener, recorded them by other rules.
    fields["language_primary"] = primary_language(fields.get("language", ""))
    fields["server"] = server_name(fields.get("server", ""))
    fields["base_url"] = canonical_base_url(fields.get("base_url", ""))
    return TootRecord(**fields)


def _delete_of(record: TootRecord) -> TootRecord:
    return TootRecord(
        event="delete",
        uri=record.uri,
        status_id=record.status_id,
        base_url=record.base_url,
        server=record.server,
        created_at=record.created_at,
        ingested_at=record.ingested_at,
        source="replay",
    )


def _ignore() -> None:
    pass


def _query_for(columns: set[str]) -> str:
    if columns >= TOPIC_COLUMNS:
        return "replay_topic"
    if columns >= ARTICLE_COLUMNS:
        return "replay_article"
    missing = (
        ", ".join(sorted(TOPIC_COLUMNS - columns))
        if columns & {"uri", "event"}
        else "uri, event and others"
    )
    raise ReplayError(
        f"these files hold neither the topic's records (they lack {missing}) nor the article's "
        f"fourteen columns (they lack {', '.join(sorted(ARTICLE_COLUMNS - columns))})"
    )
