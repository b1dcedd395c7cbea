"""pyiceberg's access to the object store, with a private certificate authority."""

from pyarrow.fs import FileSystem, S3FileSystem  # type: ignore[import-untyped]
from pyiceberg.io.pyarrow import PyArrowFileIO

AUTHORITIES = "s3.tls-ca-file-path"
"""The property that names the authorities' PEM file; pyiceberg itself has none."""
IMPLEMENTATION = f"{__name__}.PrivateAuthorityFileIO"


class PrivateAuthorityFileIO(PyArrowFileIO):
    """pyiceberg's own access, except that S3's certificate is verified with a given file."""

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        properties = self.properties
        return S3FileSystem(
            endpoint_override=properties["s3.endpoint"],
            region=properties["s3.region"],
            access_key=properties["s3.access-key-id"],
            secret_key=properties["s3.secret-access-key"],
            session_token=properties.get("s3.session-token"),
            force_virtual_addressing=False,
            tls_ca_file_path=properties[AUTHORITIES],
        )
