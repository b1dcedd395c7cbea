"""Removes objects from the bucket, while the maintenance's lock is held."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from mastodon_pipeline.errors import MaintenanceError
from mastodon_pipeline.lake.lake import StoredFile
from mastodon_pipeline.maintenance.lock import Lock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


AT_ONCE = 1000
"""S3 takes as many keys in one request."""
SAID_EVERY_S = 3.0


class Remover(Protocol):
    """Removes files, and says how far it all is."""

    def progress(self, doing: str) -> None:
        """Says what is being done, every few seconds."""

    def remove(self, files: Sequence[StoredFile]) -> None:
        """Removes files for ever; repeating it is harmless."""

    def note(self, path: str) -> None:
        """Puts an empty file at a path, or anew: its time of writing tells that it changed."""


class BucketRemover:
    """Removes objects while the maintenance's lock is held, and keeps that."""

    def __init__(
        self, s3: "S3Client", bucket: str, lock: Lock | None, say: Callable[[str], object]
    ) -> None:
        self._s3, self._bucket, self._lock, self._say = s3, bucket, lock, say
        self._said = monotonic()

    def progress(self, doing: str) -> None:
        """Says what is being done. Raises MaintenanceError where the lock was lost."""
        if self._lock is not None:
            self._lock.renew()
        if monotonic() >= self._said + SAID_EVERY_S:
            self._said = monotonic()
            self._say(doing)

    def remove(self, files: Sequence[StoredFile]) -> None:
        """Removes objects for ever.

        Raises MaintenanceError where one cannot be removed; repeating it is harmless.
        """
        root = f"s3://{self._bucket}/"
        for start in range(0, len(files), AT_ONCE):
            self.progress(f"removing files: {start:,} of {len(files):,}")
            keys = [file.path.removeprefix(root) for file in files[start : start + AT_ONCE]]
            answer = self._s3.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
            )
            for error in answer.get("Errors", []):
                raise MaintenanceError(
                    f"the object store does not remove {error.get('Key')}: {error.get('Message')}"
                )

    def note(self, path: str) -> None:
        """Puts an empty object at a path."""
        self._s3.put_object(Bucket=self._bucket, Key=path.removeprefix(f"s3://{self._bucket}/"))
