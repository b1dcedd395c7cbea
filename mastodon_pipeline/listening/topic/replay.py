"""Parquet back into the topic: our landed records, or what the article's listener had landed.

Doing it again changes nothing downstream: a toot is one by its uri, however often it comes.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb

from mastodon_pipeline.errors import DeliveryFailed, ReplayError
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.listening.records.record import FUTURE_TOLERANCE_MS, Record
from mastodon_pipeline.listening.records.sink import DeadLetter, TootSink

OURS = frozenset({"event", "uri", "status_id", "base_url", "created_at", "mastodon_text"})
"""Columns by which a landed record of the topic is known."""
ARTICLES = frozenset(
    {
        *("m_id", "created_at", "created_at_str", "app", "url", "base_url", "language"),
        *("favourites", "username", "bot", "tags", "characters", "words", "mastodon_text"),
    }
)
"""The article's columns, all fourteen."""
_ROWS_AT_ONCE = 2000


@dataclass(slots=True)
class Replayed:
    """What came of a replay so far."""

    sent: int = 0
    acknowledged: int = 0
    dead_letters: int = 0


def connect_local() -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB for local files."""
    return duckdb.connect(
        ":memory:", config={"threads": "1", "autoinstall_known_extensions": "false"}
    )


class ParquetToots:
    """The toots in Parquet files; a context manager, which closes the connection."""

    def __init__(
        self,
        globs: Sequence[str],
        connect: Callable[[], duckdb.DuckDBPyConnection] = connect_local,
    ) -> None:
        """Looks at the files' columns. Raises ReplayError, and what `connect` raises."""
        for glob in globs:
            if "://" in glob and not glob.startswith("s3://"):
                raise ReplayError(f"{glob} is neither a local path nor one of s3://")
        self._paths = {"paths": list(globs)}
        self._connection = connect()
        try:
            described = self._connection.execute(
                query("listening/topic/replay_columns"), self._paths
            ).fetchall()
            names = {row[0] for row in described}
            self._query = query(f"listening/topic/{_query_for(names)}")
            [self.rows] = self._connection.execute(
                query("listening/topic/replay_count"), self._paths
            ).fetchall()[0]
        except duckdb.Error as error:
            self._connection.close()
            raise ReplayError(_told(error)) from None
        except ReplayError:
            self._connection.close()
            raise

    def __enter__(self) -> "ParquetToots":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def records(self) -> Iterator[Record]:
        """One record a row, source `replay`, times UTC milliseconds; fields the row lacks missing.

        Raises ReplayError where a file turns out to be broken, or a time to be none.
        """
        try:
            rows = self._connection.execute(self._query, self._paths)
            names = [column[0] for column in rows.description or []]
            while batch := rows.fetchmany(_ROWS_AT_ONCE):
                for row in batch:
                    # What is null takes the schema's default.
                    found = {n: v for n, v in zip(names, row, strict=True) if v is not None}
                    yield {**found, "source": "replay"}
        except duckdb.InterruptException:
            raise KeyboardInterrupt from None
        except duckdb.Error as error:
            raise ReplayError(_told(error)) from None


def replay(
    records: Iterator[Record], sink: TootSink, replayed: Replayed, tick: Callable[[int], None]
) -> None:
    """Sends the records, and calls `tick` with the number of rows done since its last call.

    A row that is no toot goes to the dead letters with its reason. **What can be lost here:**
    what the sink has not acknowledged when this is interrupted; replaying again brings it.
    Raises DeliveryFailed, and what `records` raises.
    """

    def acknowledged() -> None:
        replayed.acknowledged += 1

    for number, record in enumerate(records, 1):
        try:
            sink.send(_checked(record), acknowledged)
            replayed.sent += 1
        except DeliveryFailed:
            raise
        except (ValueError, TypeError) as error:
            payload = json.dumps(record, default=str).encode("utf-8", "replace")
            base_url = str(record.get("base_url", ""))
            letter = DeadLetter(payload, str(error), base_url, "replay", type(error).__name__)
            sink.dead_letter(letter, lambda: None)
            replayed.dead_letters += 1
        if number % 1000 == 0:
            sink.poll()
            tick(1000)


def _told(error: duckdb.Error) -> str:
    # Without the place in our query, which is no business of the reader's.
    return " ".join(str(error).partition("\n\nLINE ")[0].split())[:300]


def _checked(record: Record) -> Record:
    if "created_at" not in record:
        raise ValueError("created_at is missing")
    uri, status_id = record.get("uri", ""), record.get("status_id", "")
    if not uri and not (status_id and record.get("base_url")):
        raise ValueError("neither a uri nor an id on a server says which toot this is")
    # Kafka refuses a record of the future, and every one after it would fail with it.
    latest = time.time_ns() // 1_000_000 + FUTURE_TOLERANCE_MS
    known = {"base_url": "", "uri": uri, "status_id": status_id}
    return {**known, **record, "created_at": min(record["created_at"], latest)}


def _query_for(names: set[str]) -> str:
    if names >= OURS:
        return "replay_topic"
    if names >= ARTICLES:
        return "replay_article"
    lacking = ", ".join(sorted(OURS - names)) if names & {"uri", "event"} else None
    raise ReplayError(
        "these files hold neither the topic's records "
        f"(they lack {lacking or 'uri, event and others'}) nor the article's fourteen columns "
        f"(they lack {', '.join(sorted(ARTICLES - names))})"
    )
