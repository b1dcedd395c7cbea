"""The lake: where its files are, a listing of them, and DuckDB to read and write them.

Everything downstream of Kafka works on a `Lake`. The pipeline's is a bucket; a local directory
does as well, with the same queries.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
from botocore.exceptions import ClientError

from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.copies import RecordCopies
from mastodon_pipeline.lake.day_listings import DayListings
from mastodon_pipeline.lake.files import ListFiles, StoredFile, list_objects
from mastodon_pipeline.lake.forgotten import ForgottenList
from mastodon_pipeline.lake.landed import LandedFiles
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.written import WRITTEN, WrittenFiles
from mastodon_pipeline.schemas import RecordField, record_fields
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONTENT_TYPES = {".parquet": "application/vnd.apache.parquet", ".png": "image/png"}
_NOT_IN_PLACE = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}
_BUILT_FROM: dict[str, tuple[str, str | None]] = {}
"""By path of a table's file: its etag, and the fingerprint in that version, None if it has none."""
MOST_REMEMBERED = 20_000
"""Files of tables whose fingerprints a process remembers, two years of hours of one table."""


@dataclass(frozen=True, slots=True)
class Lake:
    """What landing, the tables, their checks and maintenance work on."""

    layout: Layout
    connection: duckdb.DuckDBPyConnection
    list_files: ListFiles
    put_in_place_of: Callable[[StoredFile | None, str, Path], str | None]
    """Puts a local file at a path, if this version of a file is still there (None: no file);
    returns the etag that it has now, None if another file was there."""
    empty_record: str
    """A Parquet file with the record's columns and no rows, see `record.sql`."""
    salt: str = field(default="", repr=False)
    """Of pseudonyms."""

    landed: LandedFiles = field(init=False)
    """What the landed files hold."""
    copies: RecordCopies = field(init=False)
    """Local copies of landed records."""
    written: WrittenFiles = field(default=WRITTEN, init=False)
    """Local copies of what this process has put into it."""
    replaced: DayListings = field(init=False)
    """The versions of files that are about to be replaced, see `lake.replacing`."""
    forgotten: ForgottenList = field(init=False)
    """Who asked to be forgotten."""

    def __post_init__(self) -> None:
        landed = LandedFiles(self.layout, self.connection, self.list_files, self.empty_record)
        object.__setattr__(self, "landed", landed)
        object.__setattr__(self, "replaced", DayListings(self.list_files))
        object.__setattr__(self, "copies", RecordCopies(self.connection, self.empty_record))
        forgotten = ForgottenList(self.layout, self.connection, self.list_files, self.salt)
        object.__setattr__(self, "forgotten", forgotten)

    def parquet_files(self, prefix: str) -> list[StoredFile]:
        """List the Parquet files whose path starts with a prefix, in the order of the paths."""
        return [file for file in self.list_files(prefix) if file.path.endswith(".parquet")]

    @property
    def accounts_key(self) -> str:
        """The folder of accounts' hashes with this lake's salt; '' without one."""
        return f"{sha256(f'accounts:{self.salt}'.encode()).hexdigest()[:8]}/" if self.salt else ""

    def accounts(self, day: date) -> str:
        """Return the file of the accounts that posted on a day."""
        return self.layout.accounts(day, self.accounts_key)

    def built_from(self, files: Iterable[str]) -> dict[str, str]:
        """Return, by path, the fingerprint of the files that each table's file was made from.

        Files without a fingerprint are left out.
        """
        paths = list(files)
        if not paths:
            return {}
        return dict(self.connection.execute(query("lake/built_from"), {"files": paths}).fetchall())

    def built_from_as_listed(self, files: Iterable[StoredFile]) -> dict[str, str]:
        """Return the same of files that were listed just now; a process reads each version once.

        A sensor asks every ten seconds for files that seldom change, and each answer takes several
        requests. A file that is replaced between listing and reading is read again at the next
        listing, which has another etag.
        """
        etags = {file.path: file.etag for file in files}
        unread = [path for path in etags if _BUILT_FROM.get(path, ("",))[0] != etags[path]]
        if len(_BUILT_FROM) + len(unread) > MOST_REMEMBERED:
            _BUILT_FROM.clear()
            unread = [*etags]
        read = self.built_from(unread)
        _BUILT_FROM.update({path: (etags[path], read.get(path)) for path in unread})
        known = {path: _BUILT_FROM[path][1] for path in etags}
        return {path: built_from for path, built_from in known.items() if built_from is not None}


@contextmanager
def open_lake(
    settings: Settings, connection: duckdb.DuckDBPyConnection | None = None
) -> Iterator[Lake]:
    """Open the lake in the settings' bucket, over `connection` or else one of `connect_lake`'s.

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
        layout = Layout.of(settings)
        yield Lake(
            layout,
            connection,
            partial(list_objects, s3, settings),
            partial(_put_in_place_of, s3, settings.s3_bucket, layout),
            empty_record,
            settings.person_salt.get_secret_value() if settings.person_salt else "",
        )


@contextmanager
def empty_record_file(
    connection: duckdb.DuckDBPyConnection, fields: Sequence[RecordField] = record_fields()
) -> Iterator[str]:
    """Write the Parquet file of `record.sql` for the record's fields; yield its temporary path."""
    columns = json.dumps({field.name: field.duckdb_type for field in fields})
    with TemporaryDirectory(prefix="mastodon_pipeline_") as directory:
        path = str(Path(directory, "record.parquet"))
        connection.execute(query("lake/record"), {"columns": columns, "path": path})
        yield path


def _put_in_place_of(
    s3: "S3Client",
    bucket: str,
    layout: Layout,
    replaced: StoredFile | None,
    path: str,
    local: Path,
) -> str | None:
    condition = {"IfMatch": replaced.etag} if replaced else {"IfNoneMatch": "*"}
    content_type = _CONTENT_TYPES.get(local.suffix, "application/octet-stream")
    with local.open("rb") as content:
        try:
            answer = s3.put_object(
                Bucket=bucket,
                Key=layout.key(path),
                Body=content,
                ContentType=content_type,
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            # Replaced, or being replaced; or deleted since.
            if error.response.get("Error", {}).get("Code") in _NOT_IN_PLACE:
                return None
            raise
    return answer["ETag"]
