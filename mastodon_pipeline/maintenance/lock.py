"""One maintenance at a time, whoever starts it and on whichever machine: a lock in the bucket.

The object store creates the lock's object only if there is none (`If-None-Match: *`), and
overwrites it only if it is still the version that was written before (`If-Match`).

See: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mastodon_pipeline.errors import MaintenanceError
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


ABANDONED_AFTER = timedelta(minutes=15)
"""A lock that was not renewed for this long may be taken over."""
RENEW_EVERY = timedelta(minutes=1)


class Lock:
    """A lock that is held."""

    def __init__(self, s3: "S3Client", settings: Settings, now: Callable[[], datetime]) -> None:
        self._s3, self._bucket, self.now = s3, settings.s3_bucket, now
        layout = Layout.of(settings)
        self._key = layout.key(layout.maintenance_lock())
        self._renewed = now()
        self._etag = self._take(self._renewed)

    def renew(self) -> None:
        """Renew the lock if a minute has passed; call this often, and before each removal.

        Raises MaintenanceError if the lock was taken over: this process was suspended too long.
        """
        now = self.now()
        if now < self._renewed + RENEW_EVERY:
            return
        try:
            self._etag = self._put_if_unchanged(now, self._etag)
        except ClientError as error:
            if not _is_conflict(error):
                raise
            raise MaintenanceError("another maintenance has taken over from this one") from None
        self._renewed = now

    def release(self) -> None:
        """Delete the lock if it is still this one."""
        with suppress(ClientError):
            if self._s3.head_object(Bucket=self._bucket, Key=self._key)["ETag"] == self._etag:
                self._s3.delete_object(Bucket=self._bucket, Key=self._key)

    def _take(self, now: datetime) -> str:
        try:
            return self._s3.put_object(
                Bucket=self._bucket, Key=self._key, Body=_content(now), IfNoneMatch="*"
            )["ETag"]
        except ClientError as error:
            if not _is_conflict(error):
                raise
        try:
            held = self._s3.get_object(Bucket=self._bucket, Key=self._key)
            holder = json.loads(held["Body"].read())
            if held["LastModified"] < now - ABANDONED_AFTER:
                return self._put_if_unchanged(now, held["ETag"])
        except ClientError as error:
            if not (_is_conflict(error) or isinstance(error, self._s3.exceptions.NoSuchKey)):
                raise
            holder = {}  # released, or taken over by another, between two calls
        who = f" ({holder['host']}, process {holder['pid']})" if holder else ""
        raise MaintenanceError(
            f"another maintenance of this lake is running{who}; only one may run at a time: try"
            " again later"
        )

    def _put_if_unchanged(self, now: datetime, etag: str) -> str:
        return self._s3.put_object(
            Bucket=self._bucket, Key=self._key, Body=_content(now), IfMatch=etag
        )["ETag"]


@contextmanager
def hold_lock(
    s3: "S3Client", settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Lock]:
    """Hold the lock of the lake in the settings' bucket. `now` returns the time, UTC.

    Raises MaintenanceError if another maintenance holds it; the message says which process.
    """
    lock = Lock(s3, settings, now)
    try:
        yield lock
    finally:
        lock.release()


def _content(now: datetime) -> bytes:
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "renewed": now.isoformat()}
    return json.dumps(holder).encode()


def _is_conflict(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in (409, 412)
