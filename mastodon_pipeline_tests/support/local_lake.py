"""A lake in a local directory, and records to land in it; the pipeline's own queries read it."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake, empty_record_file
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.usage.inputs import hour_records
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.memory_database import memory_database

HOUR = datetime(2026, 11, 24, 15, tzinfo=UTC)
DAY = HOUR.date()
Record = dict[str, Any]

_TYPES = {
    **{field.name: field.duckdb_type for field in record_fields()},
    "kafka_partition": "INTEGER",
    "kafka_offset": "BIGINT",
    "kafka_timestamp": "TIMESTAMPTZ",
}
_DEFAULTS: Record = {
    **{field.name: field.default for field in record_fields()},
    "uri": "https://one.example/1",
    "status_id": "1",
    "base_url": "https://one.example",
    "server": "one.example",
    "created_at": HOUR,
    "ingested_at": HOUR,
    "username": "ada",
    "acct": "ada",
    "language": "en",
    "language_primary": "en",
    "characters": 5,
    "words": 1,
    "mastodon_text": "hello",
    "visibility": "public",
    "kafka_partition": 0,
    "kafka_offset": 0,
    "kafka_timestamp": HOUR,
}


def record(**fields: Any) -> Record:
    """Return a landed record: the defaults, except for these fields."""
    unknown = fields.keys() - _DEFAULTS.keys()
    assert not unknown, f"the record has no {unknown}"
    return {**_DEFAULTS, **fields}


def delete(**fields: Any) -> Record:
    """Return a delete as a listener writes it: only which toot, which server and when."""
    empty = {"mastodon_text": "", "characters": 0, "username": "", "acct": "", "language": ""}
    return record(event="delete", **{**empty, **fields})


EDITED = record(
    event="status.update", edited_at=HOUR + timedelta(minutes=5), mastodon_text="hello, world"
)
"""The record's toot after an edit of its author."""


def in_order(*records: Record) -> list[Record]:
    """Return these records with ascending offsets and ingestion times."""
    return [
        {**record, "kafka_offset": offset, "ingested_at": HOUR + timedelta(seconds=offset)}
        for offset, record in enumerate(records)
    ]


def write_parquet(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    records: Sequence[Record],
    without: Sequence[str] = (),
) -> None:
    """Write records as a sink does, to a directory or to the object store."""
    names = [name for name in _TYPES if name not in without]
    columns = ", ".join(f'"{name}" {_TYPES[name]}' for name in names)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE landing ({columns})")
    if records:
        row = f"({', '.join('?' for _ in names)})"
        values = [record[name] for record in records for name in names]
        connection.execute(f"INSERT INTO landing VALUES {', '.join([row] * len(records))}", values)
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    connection.table("landing").write_parquet(path, compression="zstd")


def land(
    lake: Lake, *records: Record, name: str = "a", without: Sequence[str] = ()
) -> list[Record]:
    """Land records in the folders of their hours, one file an hour; return them."""
    by_hour: dict[datetime, list[Record]] = {}
    for record in records:
        hour = record["created_at"].replace(minute=0, second=0, microsecond=0)
        by_hour.setdefault(hour, []).append(record)
    for hour, of_hour in by_hour.items():
        path = f"{lake.layout.landed_hour(hour)}{name}.parquet"
        write_parquet(lake.connection, path, of_hour, without)
    return list(records)


def rows(lake: Lake, path: str) -> list[Record]:
    """Return the rows of a table's file."""
    table = lake.connection.read_parquet(path, hive_partitioning=False)
    return [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]


def built_toots(lake: Lake) -> list[Record]:
    """Build the toots of `HOUR`, and return them."""
    return rows(lake, build_toots(lake, HOUR).path)


def file_columns(lake: Lake, path: str) -> dict[str, str]:
    """The columns of a table's file, in order, with their types as declarations name them."""
    file = lake.connection.read_parquet(path, hive_partitioning=False)
    short = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    types = [short.get(str(kind), str(kind)) for kind in file.types]
    return dict(zip(file.columns, types, strict=True))


@contextmanager
def local_lake(root: Path, threads: int = 1, salt: str = "") -> Iterator[Lake]:
    """Open a lake in this directory, with a salt of pseudonyms or without one.

    `threads` read several files at once, which matters to their rows' order: two take half as much
    CPU again.
    """
    with (
        memory_database(threads) as connection,
        # The lake keeps its copies of landed files beside it.
        TemporaryDirectory(prefix="mastodon_pipeline_") as directory,
    ):
        empty_record = Path(directory, "record.parquet")
        empty_record.write_bytes(_empty_record())
        yield Lake(
            Layout(str(root), "mastodon-topic"),
            connection,
            _list_files,
            _put_in_place_of,
            str(empty_record),
            salt,
        )


@cache
def _empty_record() -> bytes:
    """Return the content of the file without records, which is the same for every lake."""
    with (
        duckdb.connect(":memory:") as connection,
        empty_record_file(connection) as path,
    ):
        return Path(path).read_bytes()


@contextmanager
def slices_of(records: int) -> Iterator[None]:
    """Build hours in slices of so many records, as only large ones are by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hour_records, "SLICE_RECORDS", records)
        patch.setattr(hour_records, "SMALL_BYTES", 0)
        yield


class LocalLakeResource(LakeResource):
    """Opens the lake in the directory `root` for assets and sensors."""

    root: str

    @contextmanager
    def open(self) -> Iterator[Lake]:
        """Open the local lake."""
        with local_lake(Path(self.root)) as lake:
            yield lake


def _list_files(prefix: str, after: str = "") -> list[StoredFile]:
    paths = (
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.path.dirname(prefix))
        for name in names
    )
    return [
        _stored_file(path)
        for path in sorted(path for path in paths if path.startswith(prefix) and path > after)
    ]


def _stored_file(path: str) -> StoredFile:
    with open(path, "rb") as file:
        etag = hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
        status = os.fstat(file.fileno())
    return StoredFile(path, etag, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size)


def _put_in_place_of(replaced: StoredFile | None, path: str, local: Path) -> str | None:
    current = next((file for file in _list_files(path) if file.path == path), None)
    if (current and current.etag) != (replaced and replaced.etag):
        return None
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(local, path)
    return _stored_file(path).etag
