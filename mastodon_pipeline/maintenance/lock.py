"""One maintenance at a time, whoever starts it and on whichever machine: a lock in the bucket.

The object store writes the lock's object only where there is none (`If-None-Match: *`), and
renews it only where it is still the one that was written before (`If-Match`).

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

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


KEY = "removed/maintenance.lock"
ABANDONED_AFTER = timedelta(minutes=15)
"""A lock that was not renewed for so long belongs to nobody any more."""
RENEWED_EVERY = timedelta(minutes=1)


class Lock:
    """A lock that is held."""

    def __init__(self, s3: "S3Client", bucket: str, now: Callable[[], datetime]) -> None:
        self._s3, self._bucket, self.now = s3, bucket, now
        self._renewed = now()
        self._etag = _take(s3, bucket, self._renewed)

    def renew(self) -> None:
        """To be called every now and then, and before anything is removed.

        Raises MaintenanceError where the lock was taken over: this process slept too long.
        """
        now = self.now()
        if now < self._renewed + RENEWED_EVERY:
            return
        try:
            put = self._s3.put_object(
                Bucket=self._bucket, Key=KEY, Body=_mine(now), IfMatch=self._etag
            )
        except ClientError as error:
            if not _refused(error):
                raise
            raise MaintenanceError("another maintenance has taken over from this one") from None
        self._etag, self._renewed = put["ETag"], now

    def release(self) -> None:
        """Gives the lock up, where it is still this one's."""
        with suppress(ClientError):
            if self._s3.head_object(Bucket=self._bucket, Key=KEY)["ETag"] == self._etag:
                self._s3.delete_object(Bucket=self._bucket, Key=KEY)


@contextmanager
def hold_lock(
    s3: "S3Client", bucket: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Lock]:
    """Holds the lock of the lake in this bucket. `now` tells the time, UTC.

    Raises MaintenanceError where another maintenance holds it, which says who and since when.
    """
    lock = Lock(s3, bucket, now)
    try:
        yield lock
    finally:
        lock.release()


def _take(s3: "S3Client", bucket: str, now: datetime) -> str:
    try:
        return s3.put_object(Bucket=bucket, Key=KEY, Body=_mine(now), IfNoneMatch="*")["ETag"]
    except ClientError as error:
        if not _refused(error):
            raise
    try:
        found = s3.get_object(Bucket=bucket, Key=KEY)
        holder = json.loads(found["Body"].read())
        if found["LastModified"] < now - ABANDONED_AFTER:
            put = s3.put_object(Bucket=bucket, Key=KEY, Body=_mine(now), IfMatch=found["ETag"])
            return put["ETag"]
    except ClientError as error:
        if not (_refused(error) or isinstance(error, s3.exceptions.NoSuchKey)):
            raise
        holder = {}  # released, or taken over by another, between two calls
    who = f" ({holder['host']}, process {holder['pid']})" if holder else ""
    raise MaintenanceError(
        f"another maintenance of this lake is at work{who}; it is one at a time, try again later"
    )


def _mine(now: datetime) -> bytes:
    held = {"host": socket.gethostname(), "pid": os.getpid(), "renewed": now.isoformat()}
    return json.dumps(held).encode()


def _refused(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in (409, 412)
