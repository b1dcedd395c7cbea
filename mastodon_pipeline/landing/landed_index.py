"""Which offsets each hour's landed files hold, remembered, so that no file is opened twice.

The sink writes a file for each commit and hour, some thousands a day. Opening all of them costs
milliseconds each, every time, while listing them costs one request for each thousand. So what was
read from an hour's files is stored beside them, in one small Parquet file: for each hour folder
its rows, and the offsets as ranges, which are few.

That file can be lost without harm, and cannot mislead: each folder is stored with a fingerprint of
its files. If the folder holds other files now, they are opened and counted again.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import duckdb

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query

SAVE_EVERY_FOLDERS = 200
"""How often the index is saved while many folders are counted for the first time."""


@dataclass(frozen=True, slots=True)
class LandedToots:
    """The landed files taken together."""

    files: int = 0
    rows: int = 0
    """Duplicates included."""
    bytes: int = 0
    hours: int = 0
    """Hour folders that hold a file."""
    newest_toot: datetime | None = None
    """The newest `created_at`, UTC; None if nothing has landed."""
    newest_file: datetime | None = None
    """When the newest file was written, UTC."""
    opened: int = 0
    """Files that had to be opened: those of hours that changed since they were last counted."""


class Indexed(NamedTuple):
    """The result of `index_landed`."""

    landed: dict[datetime, list[StoredFile]]
    """The landed files by hour (UTC), in the order of the hours."""
    opened: int
    """Files that had to be opened."""


def landed_toots(lake: Lake) -> LandedToots:
    """Count what has landed, opening only the files of hours that changed.

    Raises ObjectStoreUnavailable and duckdb.Error as `index_landed` does.
    """
    landed, opened = index_landed(lake)
    files = [file for hour_files in landed.values() for file in hour_files]
    if not files:
        return LandedToots()
    rows = lake.connection.execute(
        query("landing/landed_rows"), {"folder": lake.layout.landed()}
    ).fetchone()
    newest_hour = [file.path for file in landed[max(landed)]]
    newest = lake.connection.execute(
        query("landing/newest_toot"), {"files": newest_hour}
    ).fetchone()
    return LandedToots(
        files=len(files),
        rows=rows[0] if rows else 0,
        bytes=sum(file.size for file in files),
        hours=len(landed),
        newest_toot=newest[0] if newest else None,
        newest_file=max(file.modified for file in files),
        opened=opened,
    )


def index_landed(lake: Lake) -> Indexed:
    """Fill the connection's table `landed_folder` with all landed files, and those removed.

    A row a folder: `rows` (duplicates included) and `ranges` (each `_partition`, `first_offset`,
    `last_offset`). Opens only the files of folders that changed since they were last counted.

    Raises:
        ObjectStoreUnavailable: the object store does not answer, or refuses.
        duckdb.Error: a file cannot be read.
    """
    layout = lake.layout
    # Landed files first: what maintenance removes meanwhile has left its receipt.
    landed = _hours(lake, layout.landed())
    receipts = _hours(lake, layout.removed())
    folders = {
        **{layout.landed_hour(hour).rstrip("/"): files for hour, files in landed.items()},
        **{layout.removed_hour(hour).rstrip("/"): files for hour, files in receipts.items()},
    }
    versions = {folder: fingerprint(files) for folder, files in folders.items()}
    path = layout.landed_index()
    changed = sorted(versions.keys() - _load(lake.connection, path, versions))
    for number, folder in enumerate(changed, start=1):
        paths = [file.path for file in folders[folder]]
        values = {"folder": folder, "version": versions[folder], "files": paths}
        lake.connection.execute(query("landing/index_folder"), values)
        if number % SAVE_EVERY_FOLDERS == 0 or number == len(changed):
            lake.connection.execute(query("landing/save_landed_index"), {"path": path})
    return Indexed(landed, sum(len(folders[folder]) for folder in changed))


def _hours(lake: Lake, prefix: str) -> dict[datetime, list[StoredFile]]:
    try:
        return lake.by_hour(lake.parquet_files(prefix))
    except BucketMissing:
        return {}  # nothing has landed yet: the sink's job creates the bucket


def _load(
    connection: duckdb.DuckDBPyConnection, path: str, versions: Mapping[str, str]
) -> frozenset[str]:
    """Load from the index the folders whose files are still the same, and return these folders."""
    connection.execute(query("landing/landed_folder"))
    with suppress(duckdb.Error):  # there is none yet, or it is from another version of this code
        connection.execute(
            query("landing/load_landed_index"),
            {"path": path, "folders": list(versions), "versions": list(versions.values())},
        )
    rows = connection.execute("SELECT folder FROM landed_folder").fetchall()
    return frozenset(folder for (folder,) in rows)
