"""What has landed: the sink's Parquet files, hour by hour.

Listing costs one request for each thousand files. What is in them is kept by `landed_index`.
"""

import re
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.landing.connector_config import raw_folder, removed_folder
from mastodon_pipeline.settings import Settings

_HOUR = re.compile(r"/created_at_hour=(\d{4}-\d{2}-\d{2}-\d{2})/[^/]+\.parquet$")
_HOUR_FORMAT = "%Y-%m-%d-%H"


@dataclass(frozen=True, slots=True)
class LandedFile:
    """One Parquet object of the sink's."""

    path: str
    """`s3://<bucket>/topics/<topic>/created_at_hour=YYYY-MM-DD-HH/<name>.parquet`"""
    hour: datetime
    """The UTC hour in which its toots were posted."""
    size: int
    """Bytes."""
    written_at: datetime
    """UTC, by the object store's clock."""
    etag: str
    """Changes whenever the content does."""


def landed_files(settings: Settings) -> tuple[LandedFile, ...]:
    """The sink's files, oldest hour first; none where the bucket does not exist yet.

    Raises ObjectStoreUnavailable where the object store is unreachable or refuses.
    """
    return _files_by_hour(settings, raw_folder(settings))


def receipts(settings: Settings) -> tuple[LandedFile, ...]:
    """Where maintenance wrote the Kafka coordinates of landed files before it removed them.

    Raises ObjectStoreUnavailable as `landed_files` does.
    """
    return _files_by_hour(settings, removed_folder(settings))


def _files_by_hour(settings: Settings, folder: str) -> tuple[LandedFile, ...]:
    bucket, prefix = settings.s3_bucket, f"{folder}/created_at_hour="
    files = []
    with object_store_errors(settings), closing(s3_client(settings)) as s3:
        try:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for item in page.get("Contents", ()):
                    if found := _HOUR.search(item["Key"]):
                        files.append(
                            LandedFile(
                                f"s3://{bucket}/{item['Key']}",
                                datetime.strptime(found[1], _HOUR_FORMAT).replace(tzinfo=UTC),
                                item["Size"],
                                item["LastModified"].astimezone(UTC),
                                item["ETag"],
                            )
                        )
        except s3.exceptions.NoSuchBucket:
            return ()
    return tuple(files)
