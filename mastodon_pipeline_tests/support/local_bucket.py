"""The calls of an S3 client that maintenance makes, on a directory in place of a bucket."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class LocalBucket:
    """Objects are files below `root`; a key may be a whole path."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def client(self) -> "S3Client":
        """This, as what it stands for."""
        return cast("S3Client", self)

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:
        """Return the content of an object."""
        return {"Body": io.BytesIO((self._root / Key).read_bytes())}

    def put_object(self, *, Key: str, Body: bytes = b"", **_: Any) -> None:
        """Write an object."""
        path = self._root / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)

    def delete_objects(self, *, Delete: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Remove objects."""
        for each in Delete["Objects"]:
            (self._root / each["Key"]).unlink(missing_ok=True)
        return {}
