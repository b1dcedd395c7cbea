"""Which offsets each hour's landed files hold, remembered, so that no file is opened twice.

The sink writes a file for each commit and hour, some thousands a day. Opening them all costs
milliseconds each, every time; so what was found in an hour's files is kept beside them, in one
small Parquet file: for each hour folder its rows, and the offsets as ranges, which are few.

Nothing is lost with that file, and nothing wrong can come of it: each hour stands there with a
fingerprint of its files, paths and etags. Where the folder has other files now, more, fewer or
changed ones, they are opened and counted anew.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import duckdb

from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.connector_config import raw_folder
from mastodon_pipeline.landing.landed import LandedFile, landed_files, receipts
from mastodon_pipeline.settings import Settings

SAVED_EVERY = 200
"""Hours, when many are counted for the first time."""


@dataclass(frozen=True, slots=True)
class LandedToots:
    """The landed files taken together."""

    files: int
    rows: int
    """Duplicates included."""
    bytes: int
    hours: int
    """Hour folders that hold a file."""
    newest_toot: datetime | None
    """UTC; the newest `created_at`, None where nothing has landed."""
    newest_file: datetime | None
    """UTC; when the newest file was written."""
    opened: int = 0
    """Files that had to be opened: those of hours that changed since they were last counted."""


class Indexed(NamedTuple):
    """What `index_landed` found."""

    landed: tuple[LandedFile, ...]
    opened: int
    """Files."""


def landed_toots(settings: Settings, lake: duckdb.DuckDBPyConnection) -> LandedToots:
    """Lists the files, and opens those of hours that changed.

    Raises:
        ObjectStoreUnavailable: as `landed_files` does.
        duckdb.Error: a file cannot be read.
    """
    files, opened = index_landed(settings, lake)
    if not files:
        return LandedToots(0, 0, 0, 0, None, None)
    newest_hour = max(file.hour for file in files)
    folder = f"s3://{settings.s3_bucket}/{raw_folder(settings)}/"
    rows = lake.execute(query("landing/landed_rows"), {"folder": folder}).fetchone()
    newest = lake.execute(
        query("landing/newest_toot"),
        {"files": [file.path for file in files if file.hour == newest_hour]},
    ).fetchone()
    return LandedToots(
        files=len(files),
        rows=rows[0] if rows else 0,
        bytes=sum(file.size for file in files),
        hours=len({file.hour for file in files}),
        newest_toot=newest[0] if newest else None,
        newest_file=max(file.written_at for file in files),
        opened=opened,
    )


def index_landed(settings: Settings, lake: duckdb.DuckDBPyConnection) -> Indexed:
    """Fills the connection's table `landed_folder` with all landed files, and those removed.

    A row a folder: `rows` (duplicates included) and `ranges` (each `_partition`, `first_offset`,
    `last_offset`). Opens the files of those folders alone that are not known as they are now.

    Raises:
        ObjectStoreUnavailable: as `landed_files` does.
        duckdb.Error: a file cannot be read.
    """
    landed = landed_files(settings)  # first: what is removed meanwhile has left its receipt
    folders: defaultdict[str, list[LandedFile]] = defaultdict(list)
    for file in (*landed, *receipts(settings)):
        folders[file.path.rpartition("/")[0]].append(file)
    versions = {folder: _version(own) for folder, own in folders.items()}
    path = f"s3://{settings.s3_bucket}/index/{settings.kafka_topic}/landed.parquet"
    changed = sorted(versions.keys() - _load(lake, path, versions))
    for number, folder in enumerate(changed, start=1):
        paths = [file.path for file in folders[folder]]
        values = {"folder": folder, "version": versions[folder], "files": paths}
        lake.execute(query("landing/index_folder"), values)
        if number % SAVED_EVERY == 0 or number == len(changed):
            lake.execute(query("landing/save_landed_index"), {"path": path})
    return Indexed(landed, sum(len(folders[folder]) for folder in changed))


def _load(
    lake: duckdb.DuckDBPyConnection, path: str, versions: Mapping[str, str]
) -> frozenset[str]:
    """The folders of which the index still knows what is in them now."""
    lake.execute(query("landing/landed_folder"))
    with suppress(duckdb.Error):  # there is none yet, or one of another version of this
        lake.execute(
            query("landing/load_landed_index"),
            {"path": path, "folders": list(versions), "versions": list(versions.values())},
        )
    found = lake.execute("SELECT folder FROM landed_folder").fetchall()
    return frozenset(folder for (folder,) in found)


def _version(files: Iterable[LandedFile]) -> str:
    lines = sorted(f"{file.path}\t{file.etag}" for file in files)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
