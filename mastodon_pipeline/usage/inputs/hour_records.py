"""The records that an hour of `toots` is made from, wherever they still are.

Of an hour whose landed files were removed its `toots` are all that is left: this is the one place
where the tables themselves hold what nothing else does. What protects it:

* Landed files are removed only by `mastodon_pipeline.maintenance`, and only once the hour's tables
  are verified against exactly these files. Before the first file goes, their Kafka coordinates are
  written below `removed/`: the receipt, which is never deleted.
* An hour with a receipt is built from its `toots` as they are *and* the landed files that hold
  records of it: a late toot is merged in, and files that are left, in the folder of another day or
  by an interrupted removal, change nothing. Otherwise the late toot alone would replace the hour.
* The landed files are listed before `removed/` is. A build that finds no receipt has thus listed
  all the files; if they vanish before they are read, the build fails, and the next one finds the
  receipt.
* Of two builds at once that both merge, the later one merges again (`lake.replacing`), and files
  younger than a day are never removed.
* Without its `toots` such an hour cannot be built: `RecordsGone` is raised, and nothing is written.

What a merge cannot know: a delete that landed before the removal and before any server had reported
its toot, and a delete without a uri that names the toot by the status id of another server than
the one in `toots`. Both take a toot, or a delete, that comes weeks late. And a toot that another
server's delete emptied, when its home server had not reported it, stays deleted whatever that says
now.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from mastodon_pipeline.errors import RecordsGone
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.inputs.forgotten import without_forgotten


@dataclass(frozen=True, slots=True)
class HourRecords:
    """What an hour of `toots` is made from."""

    landed: tuple[StoredFile, ...]
    """The landed files that hold records of the hour, and of others."""
    paths: tuple[str, ...]
    """Parquet files to read, which have every column of the record: `landed`, or a copy of their
    records; and the hour's toots as records if landed files were removed. They also hold rows of
    other hours."""
    removed: bool
    """Landed files of this hour were removed, or are about to be."""
    slices: int = 1
    """In how many slices, by toots, the hour is to be built: whole, it would not fit in memory."""


SLICE_RECORDS = 1_000_000
"""Of an hour, at most; DuckDB groups one and a half times as many within 2 GB."""
SMALL_BYTES = 32_000_000
"""Landed files that have fewer are not counted: they hold some 300,000 records."""


@contextmanager
def hour_records(lake: Lake, hour: datetime) -> Iterator[HourRecords]:
    """Give the records of an hour, from wherever they still are. `hour`: its start, UTC.

    Those of people and servers that were forgotten are nameless (see `usage.inputs.forgotten`).

    Raises:
        RecordsGone: both the landed files and the toots made from them are gone.
        SettingsError: there is a list of forgotten people, and no salt.
    """
    with (
        _hour_records(lake, hour) as records,
        without_forgotten(lake, hour, records.paths) as paths,
    ):
        yield replace(records, paths=paths)


@contextmanager
def _hour_records(lake: Lake, hour: datetime) -> Iterator[HourRecords]:
    landed = lake.landed.of_hour(hour)  # first, see above
    paths = (lake.empty_record, *lake.copies.paths(hour, landed))
    if not lake.landed.has_receipts(hour):
        yield HourRecords(landed, paths, removed=False, slices=_slices(lake, hour, landed))
        return
    toots = lake.layout.toots(hour)
    if not lake.parquet_files(toots):
        raise RecordsGone(
            f"the landed files of {hour:%Y-%m-%d %H:%M} UTC were removed, and {toots}, which was"
            " made from them, is gone: put it back from a backup, or delete"
            f" {lake.layout.removed_hour(hour)} to count only what landed since"
        )
    # A new name each time: DuckDB may cache what a file of the same name held.
    toots_as_records = Path(lake.empty_record).with_name(f"toots-{uuid4().hex}.parquet")
    try:
        lake.connection.execute(
            query("usage/inputs/toots_as_records"),
            {"toots_file": toots, "path": str(toots_as_records)},
        )
        merged = lake.connection.read_parquet(str(toots_as_records)).count("*").fetchone()
        slices = _slices(lake, hour, landed, int(merged[0]) if merged else 0)
        yield HourRecords(landed, (*paths, str(toots_as_records)), removed=True, slices=slices)
    finally:
        toots_as_records.unlink(missing_ok=True)


def _slices(lake: Lake, hour: datetime, landed: Sequence[StoredFile], merged: int = 0) -> int:
    """Return the number of slices for an hour's landed records and the `merged` ones."""
    large = sum(file.size for file in landed) >= SMALL_BYTES
    return 1 + (merged + (lake.landed.count_records(hour) if large else 0)) // SLICE_RECORDS
