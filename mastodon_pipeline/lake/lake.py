"""The lake as the usage stage sees it: DuckDB for the tables, a listing of what files there are.

Everything the stage does goes through a `Lake`, which says where (a `Layout`) and how. The
pipeline's is a bucket; a local directory does as well, with the same queries.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, Protocol

import duckdb

from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class StoredFile(NamedTuple):
    """A file in the lake, as a listing tells it."""

    path: str
    """With the layout's root in front, as DuckDB reads it."""
    etag: str
    """Changes whenever the content does."""
    modified: datetime
    """UTC, by the object store's clock."""
    size: int
    """Bytes."""


class ListFiles(Protocol):
    """Lists files."""

    def __call__(self, prefix: str, after: str = "") -> Iterable[StoredFile]:
        """Those whose path starts with a prefix, and comes after a path.

        In the order of the paths, and a page at a time: who stops early pays for no more.
        """


@dataclass(frozen=True, slots=True)
class Lake:
    """What building, checking and watching the tables needs."""

    layout: Layout
    connection: duckdb.DuckDBPyConnection
    list_files: ListFiles
    """What is there, in the order of the paths."""
    write_bytes: Callable[[str, bytes], None]
    """Puts a PNG at a path, in place of what was there."""
    empty_record: str
    """A Parquet file with the record's columns and no rows, see `record.sql`."""

    def parquet_files(self, prefix: str) -> list[StoredFile]:
        """The Parquet files whose path starts with a prefix."""
        return [file for file in self.list_files(prefix) if file.path.endswith(".parquet")]

    def built_from(self, files: Iterable[str]) -> dict[str, str]:
        """For each table's file that says so, the fingerprint of the files it was made from."""
        paths = list(files)
        if not paths:
            return {}
        return dict(self.connection.execute(query("lake/built_from"), {"files": paths}).fetchall())


@contextmanager
def open_lake(
    settings: Settings, connection: duckdb.DuckDBPyConnection | None = None
) -> Iterator[Lake]:
    """Open the lake in the settings' bucket, over a connection of `connect_lake`'s unless given.

    Raises:
        SettingsError: there are no credentials.
        ObjectStoreUnavailable: from the body, the object store does not answer.
    """
    with ExitStack() as stack:
        s3 = stack.enter_context(closing(s3_client(settings)))
        if connection is None:
            connection = stack.enter_context(closing(connect_lake(settings)))
        empty_record = stack.enter_context(empty_record_file(connection))
        stack.enter_context(object_store_errors(settings))
        yield Lake(
            Layout.of(settings),
            connection,
            lambda prefix, after="": _list_objects(s3, settings.s3_bucket, prefix, after),
            lambda path, content: _put_picture(s3, settings.s3_bucket, path, content),
            empty_record,
        )


@contextmanager
def empty_record_file(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """The path of a temporary `record.sql` file."""
    with TemporaryDirectory(prefix="mastodon_pipeline_") as directory:
        path = str(Path(directory, "record.parquet"))
        connection.execute(query("lake/record"), {"path": path})
        yield path


def fingerprint(files: Iterable[StoredFile]) -> str:
    """Which files these are, and in which version: 32 hexadecimal digits.

    A table's file carries the fingerprint of its input, so that whoever lists the input later
    sees whether the table still stands on it.
    """
    lines = sorted(f"{file.path}\t{file.etag}" for file in files)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _list_objects(
    s3: "S3Client", bucket: str, prefix: str, after: str = ""
) -> Iterator[StoredFile]:
    root = f"s3://{bucket}/"
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix.removeprefix(root), StartAfter=after.removeprefix(root)
    )
    for page in pages:
        for found in page.get("Contents", []):
            yield StoredFile(
                root + found["Key"], found["ETag"], found["LastModified"], found["Size"]
            )


def _put_picture(s3: "S3Client", bucket: str, path: str, content: bytes) -> None:
    key = path.removeprefix(f"s3://{bucket}/")
    s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="image/png")
