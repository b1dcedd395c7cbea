"""Maintains the lake: old snapshots, landed files past their retention, orphans, and persons.

Compaction is `toots` itself, one file an hour: once a day of arrival is RAW_RETENTION_DAYS past,
and the tables of all hours that its files hold records of are verified, its files are removed,
first from the Iceberg table and then, when no snapshot names them any more, from the bucket. That
takes two runs, so readers of the table keep their files for as long as snapshots live.

What could lose toots here, and what protects them:

* An hour's tables might lack what its files hold: each time, before the files are removed, the
  tables are verified against exactly the hour's files, `toots` row by row (see `verification`).
* Some records are in no table, such as those from before the tables' first day: they are copied to
  `Layout.uncounted` first, and stay.
* A late toot might afterwards replace the hour: see `usage.inputs.hour_records`. The receipt that
  prevents it is written before the first file is removed.
* The sink might yet commit a file that no snapshot names: only files older than a day are touched,
  counted back from the sink's own newest commit. While the sink is stalled, nothing is removed.
* The sink might lose its position: its newest snapshot, and all later ones, are never expired
  (see `landing.iceberg.sink_chain`).
* A presumed orphan might hold records that no other file has: its coordinates are compared with
  the folder's other files first, and it stays if any is missing there. Offsets alone are no
  coordinates: a Kafka that started over gives them out again, at another time.
* Files land while this runs: the landed files are listed first, the table is read afterwards, and
  only what was listed is removed. So a file that was committed meanwhile is either not listed or
  named by a snapshot.

See: https://iceberg.apache.org/docs/latest/maintenance/
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mastodon_pipeline.errors import ObjectStoreUnavailable
from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.iceberg import (
    commit,
    drop_files,
    live_files,
    metadata_paths,
    open_table,
    sink_chain,
    sink_wrote,
    snapshot_paths,
)
from mastodon_pipeline.maintenance.forgetting import forget_again
from mastodon_pipeline.maintenance.landed_folders import (
    Folders,
    landed_folders,
    maintain_landed_folders,
    remove_data_orphans,
)
from mastodon_pipeline.maintenance.lock import hold_lock
from mastodon_pipeline.maintenance.objects import BucketRemover, Remover
from mastodon_pipeline.maintenance.person_retention import retire_persons
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.first_day import first_day_due

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


NEVER = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ages:
    """How old things must be before they may be removed."""

    snapshots: timedelta = timedelta(hours=6)
    """How long a query of the table may take, or a reader may stay on a snapshot. The sink makes
    360 an hour, a kilobyte each in a file that every commit writes again."""
    files: timedelta = timedelta(days=1)
    """A younger file that no snapshot names may belong to a commit in progress."""


def maintain(
    settings: Settings,
    *,
    dry_run: bool = False,
    log: Callable[[str], object] = print,
    now: datetime | None = None,
    ages: Ages = Ages(),
) -> Report:
    """Maintain the lake once; a dry run does the same checks and changes nothing.

    `log` gets the progress every few seconds. `now` is UTC, the present unless given. Repeating it
    is harmless, and so is killing it: the next run continues.

    Raises:
        ServiceUnavailable: the object store or the catalog does not answer.
        MaintenanceError: another maintenance is running, or a file cannot be removed.
        SettingsError: a setting is missing or wrong.
        duckdb.Error: the lake cannot be read.
    """
    now = now or datetime.now(UTC)
    report = Report(dry_run)
    with ExitStack() as stack:
        s3 = stack.enter_context(closing(s3_client(settings)))
        stack.enter_context(object_store_errors(settings))
        stack.enter_context(_table_errors(settings))
        lock = None if dry_run else stack.enter_context(hold_lock(s3, settings))
        lake = stack.enter_context(open_lake(settings))
        remover = BucketRemover(s3, settings, lock, log)
        if not dry_run and (again := forget_again(settings, s3, lake, remover)) is not None:
            report.faults += [f"{path} still names somebody forgotten" for path in again.left]
        if persons := retire_persons(settings, s3, lake, remover, now, dry_run=dry_run):
            report.nameless_before = persons.until
            report.nameless_hours, report.nameless_files = len(persons.hours), persons.landed_files
            report.faults += [f"{path} still names somebody" for path in persons.left]
        lake.landed.refresh(whole=True)  # before the table is read: see above
        stack.enter_context(lake.landed.held())
        landed = landed_folders(lake)
        for unreadable in lake.landed.unreadable():
            report.faults.append(f"{unreadable.path} stays: {unreadable.reason}")
        table = open_table(settings) if settings.sink == "iceberg" else None
        if table is None and settings.sink == "iceberg":
            report.faults.append(f"the sink has not created its table {settings.iceberg_table} yet")
            return report
        named: set[str] = set()
        settled = now - ages.files
        if table is not None:
            table, snapshots = _expire(settings, table, now - ages.snapshots, report)
            named = snapshot_paths(table, snapshots, remover.progress)
            settled = min(settled, _newest_sink_commit(settings, table) - ages.files)
        live = live_files(table) if table is not None else {}
        past = _past_retention(settings, lake, landed, now)
        drop = maintain_landed_folders(
            *(lake, remover, report),
            folders={folder: landed[folder] for folder in past},
            named=named,
            live=live.keys(),
            settled=settled,
            first_day=first_day_due(lake, settings.first_day, now),
        )
        if table is not None:
            younger = {folder: files for folder, files in landed.items() if folder not in past}
            remove_data_orphans(
                *(lake, remover, report), younger, named, live.keys(), settled=settled
            )
            _remove_metadata_orphans(lake, table, named, settled, remover, report)
            for path in drop:
                report.dropped.add(live[path])
            if drop and not dry_run:
                commit(settings, lambda newest: drop_files(newest, set(drop)))
    return report


@contextmanager
def _table_errors(settings: Settings) -> Iterator[None]:
    """Turn errors of pyiceberg's file system into ObjectStoreUnavailable."""
    try:
        yield
    except OSError as error:
        raise ObjectStoreUnavailable(
            f"files of the Iceberg table {settings.iceberg_table} cannot be read or written at"
            f" {settings.s3_endpoint}: {str(error).splitlines()[0]}"
        ) from None


def _past_retention(
    settings: Settings, lake: Lake, folders: Folders, now: datetime
) -> frozenset[str]:
    """Return the folders that are past their retention: by their names, else by their files."""
    if not settings.raw_retention_days:
        return frozenset()
    oldest = now - timedelta(days=settings.raw_retention_days)
    uncounted = lake.layout.uncounted().rstrip("/")
    ends = {
        folder: lake.layout.end_of_folder(folder) or max(file.modified for file in files)
        for folder, files in folders.items()
        if folder != uncounted
    }
    return frozenset(folder for folder, end in ends.items() if end <= oldest)


def _expire(
    settings: Settings, table: "Table", before: datetime, report: Report
) -> tuple["Table", list["Snapshot"]]:
    """Expire snapshots in one commit; return the table, and the snapshots that remain."""

    def expendable(table: "Table") -> list[int]:
        needed = {snapshot.snapshot_id for snapshot in sink_chain(settings, table)}
        needed |= {ref.snapshot_id for ref in table.metadata.refs.values()}
        return [
            snapshot.snapshot_id
            for snapshot in table.metadata.snapshots
            if snapshot.snapshot_id not in needed
            and snapshot.timestamp_ms < before.timestamp() * 1000
        ]

    def expire(newest: "Table") -> None:
        if ids := expendable(newest):
            newest.maintenance.expire_snapshots().by_ids(ids).commit()

    expired = set(expendable(table))
    if expired and not report.dry_run:
        table = commit(settings, expire)
    left = [
        snapshot for snapshot in table.metadata.snapshots if snapshot.snapshot_id not in expired
    ]
    report.snapshots_expired, report.snapshots_left = len(expired), len(left)
    return table, left


def _newest_sink_commit(settings: Settings, table: "Table") -> datetime:
    """Return the time of the sink's newest commit, UTC; `NEVER` if none is known."""
    chain = sink_chain(settings, table)
    if not chain or not sink_wrote(settings, chain[-1]):
        return NEVER
    return datetime.fromtimestamp(chain[-1].timestamp_ms / 1000, UTC)


def _remove_metadata_orphans(
    lake: Lake,
    table: "Table",
    named: set[str],
    settled: datetime,
    remover: Remover,
    report: Report,
) -> None:
    folder = f"{table.location().rstrip('/')}/metadata/"
    if not folder.startswith(f"{lake.layout.root}/"):
        report.faults.append(f"{folder} is not in the bucket: it was not searched for orphans")
        return
    needed = named | metadata_paths(table)
    orphans = [
        file
        for file in lake.list_files(folder)
        if file.path not in needed and file.modified < settled
    ]
    for file in orphans:
        report.metadata_orphans.add(file.size)
    if not report.dry_run:
        remover.remove(orphans)
