"""Removes objects from the bucket, while the maintenance's lock is held."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from mastodon_pipeline.errors import MaintenanceError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.maintenance.lock import Lock
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


KEYS_PER_REQUEST = 1000
"""The most keys that S3 deletes in one request."""
PROGRESS_EVERY_SECONDS = 3.0


class Remover(Protocol):
    """Removes files, and reports progress."""

    def progress(self, activity: str) -> None:
        """Report the current activity; most calls report nothing."""

    def remove(self, files: Sequence[StoredFile]) -> None:
        """Remove files permanently; repeating it is harmless."""

    def touch(self, path: str) -> None:
        """Write an empty file, so that its modification time shows that something changed."""


class BucketRemover:
    """Removes objects while the maintenance's lock is held, which it renews."""

    def __init__(
        self, s3: "S3Client", settings: Settings, lock: Lock | None, log: Callable[[str], object]
    ) -> None:
        self._s3, self._lock, self._log = s3, lock, log
        self._bucket, self._layout = settings.s3_bucket, Layout.of(settings)
        self._reported_at = monotonic()

    def progress(self, activity: str) -> None:
        """Renew the lock, and log the activity every few seconds.

        Raises MaintenanceError if the lock was lost.
        """
        if self._lock is not None:
            self._lock.renew()
        if monotonic() >= self._reported_at + PROGRESS_EVERY_SECONDS:
            self._reported_at = monotonic()
            self._log(activity)

    def remove(self, files: Sequence[StoredFile]) -> None:
        """Remove objects permanently; repeating it is harmless.

        Raises MaintenanceError if one cannot be removed, or the lock was lost.
        """
        for start in range(0, len(files), KEYS_PER_REQUEST):
            self.progress(f"removing files: {start:,} of {len(files):,}")
            batch = files[start : start + KEYS_PER_REQUEST]
            answer = self._s3.delete_objects(
                Bucket=self._bucket,
                Delete={
                    "Objects": [{"Key": self._layout.key(file.path)} for file in batch],
                    "Quiet": True,
                },
            )
            for error in answer.get("Errors", []):
                raise MaintenanceError(
                    f"the object store does not remove {error.get('Key')}: {error.get('Message')}"
                )

    def touch(self, path: str) -> None:
        """Write an empty object."""
        self._s3.put_object(Bucket=self._bucket, Key=self._layout.key(path))
