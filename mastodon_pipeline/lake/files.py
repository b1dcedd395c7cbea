"""The lake's files as a listing shows them, and a fingerprint of their versions."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mastodon_pipeline.lake.bucket import object_store_errors
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class StoredFile(NamedTuple):
    """A file in the lake."""

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
        """List the files whose path starts with `prefix` and sorts after `after`.

        In the order of the paths, and a page at a time: a caller that stops early pays for no
        more pages.
        """


def list_objects(
    s3: "S3Client", settings: Settings, prefix: str, after: str = ""
) -> Iterator[StoredFile]:
    """List objects of the settings' bucket, as `ListFiles` says; a request for each thousand.

    Raises ObjectStoreUnavailable: BucketMissing if the bucket does not exist.
    """
    root = f"s3://{settings.s3_bucket}/"
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=settings.s3_bucket,
        Prefix=prefix.removeprefix(root),
        StartAfter=after.removeprefix(root),
    )
    with object_store_errors(settings):
        for page in pages:
            for item in page.get("Contents", []):
                yield StoredFile(
                    root + item["Key"], item["ETag"], item["LastModified"], item["Size"]
                )


def fingerprint(files: Iterable[StoredFile]) -> str:
    """Return 32 hexadecimal digits that identify these files in these versions.

    A table's file carries the fingerprint of its input, so a later listing of the input shows
    whether the table is still current.
    """
    lines = sorted(f"{file.path}\t{file.etag}" for file in files)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
