"""Removes landed files: those of verified folders, and those that no snapshot names."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, date, datetime, time

import duckdb

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.maintenance.objects import Remover
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.maintenance.verification import why_not_verified

Folders = Mapping[str, Sequence[StoredFile]]
"""Landed files that can be read, by the path of their folder."""


def landed_folders(lake: Lake) -> dict[str, list[StoredFile]]:
    """Return the landed files that can be read, by folder, as of the last refresh."""
    folders: defaultdict[str, list[StoredFile]] = defaultdict(list)
    values = {"landed": lake.layout.landed()}
    for row in lake.connection.execute(query("maintenance/landed_files"), values).fetchall():
        file = StoredFile(*row)
        folders[_folder(file.path)].append(file)
    return dict(folders)


def maintain_landed_folders(
    lake: Lake,
    remover: Remover,
    report: Report,
    *,
    folders: Folders,
    named: Set[str],
    live: Set[str],
    settled: datetime,
    first_day: date,
) -> list[str]:
    """Remove the landed files of verified folders that no snapshot names any more.

    `folders` are those past their retention. `named` are the paths that any snapshot names, `live`
    those that the newest one names. A folder with a file written after `settled` (UTC) stays, and
    so does one with records of an hour that is not verified against all files of that hour.
    Return the paths to drop from the newest snapshot: those of all verified folders.

    All folders are verified before the first is removed, since they share hours. An hour that
    keeps files in another folder is stale then, and is built again: see
    `usage.inputs.hour_records`. The removal's marker makes the sensor check all hours.
    """
    live_by_folder = _by_folder(live)
    verified: dict[str, list[datetime]] = {}
    reasons: dict[datetime, str | None] = {}
    first = datetime.combine(first_day, time(), UTC)
    for number, (folder, files) in enumerate(sorted(folders.items())):
        name = folder.rpartition("/")[2]
        remover.progress(f"verifying {name}, {number:,} of {len(folders):,} folders")
        hours = _hours(lake, files)
        counted = [hour for hour in hours if first <= hour <= settled]
        if any(file.modified >= settled for file in files):
            reason: str | None = "it got files lately, or the sink has not committed since"
        elif live_by_folder[folder] - {file.path for file in files}:
            reason = "the Iceberg table names files of it that are not in the bucket"
        else:
            reason = _why_not_verified(lake, remover, counted, reasons)
        if reason is not None:
            report.folders_left[name] = reason
        else:
            verified[folder] = counted
    drop: list[str] = []
    left = False
    for folder, hours in verified.items():
        files = folders[folder]
        report.folders_verified += 1
        drop += sorted(live_by_folder[folder])
        if any(file.path in named for file in files):
            report.folders_waiting += 1
            continue
        report.folders_removed += 1
        for file in files:
            report.removed.add(file.size)
        if not report.dry_run:
            _keep_uncounted(lake, folder, files, hours)
            for hour in hours:
                remover.progress(f"writing the receipts of {folder.rpartition('/')[2]}")
                _write_receipt(lake, hour, files)
            lake.landed.forget([file.path for file in files])
            remover.remove(files)
            left = left or bool(lake.landed.of_hours(hours))
    if left:
        remover.touch(lake.layout.removal_marker())
    return drop


def remove_data_orphans(
    lake: Lake,
    remover: Remover,
    report: Report,
    folders: Folders,
    named: Set[str],
    live: Set[str],
    *,
    settled: datetime,
) -> None:
    """Remove landed files that no snapshot names, if the folder's live files have their records.

    Orphans with records that no live file has stay, and are reported as a fault: the tables hold
    these records, the Iceberg table does not. A record is the same only if Kafka's timestamp is the
    same, too: a Kafka that started over gives the same offsets to other records.
    """
    live_by_folder = _by_folder(live)
    removed = False
    for folder, files in sorted(folders.items()):
        orphans = [file for file in files if file.path not in named and file.modified < settled]
        if not orphans or _is_kept(lake, folder):
            continue
        name = folder.rpartition("/")[2]
        remover.progress(f"checking {len(orphans)} orphans of {name}")
        try:
            unique = _count_unique_records(lake, orphans, live_by_folder[folder])
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            report.faults.append(f"orphans of {name} cannot be read: {reason}")
            continue
        if unique:
            report.faults.append(
                f"{unique:,} records of {name} are in {len(orphans)} files that the Iceberg table"
                f" does not name, the first is {orphans[0].path}"
            )
            continue
        for file in orphans:
            report.data_orphans.add(file.size)
        if not report.dry_run:
            lake.landed.forget([file.path for file in orphans])
            remover.remove(orphans)
            removed = True
    if removed:
        remover.touch(lake.layout.removal_marker())


def _is_kept(lake: Lake, folder: str) -> bool:
    return folder == lake.layout.uncounted().rstrip("/")


def _why_not_verified(
    lake: Lake, remover: Remover, hours: Sequence[datetime], reasons: dict[datetime, str | None]
) -> str | None:
    """Return why one of the hours may not lose landed files, None if all may; remember each."""
    files = lake.landed.of_hours([hour for hour in hours if hour not in reasons])
    for hour, hour_files in files.items():
        remover.progress(f"verifying {hour:%Y-%m-%d %H:%M} UTC")
        reasons[hour] = why_not_verified(lake, hour, hour_files)
    bad = [(hour, reason) for hour in hours if (reason := reasons[hour]) is not None]
    if not bad:
        return None
    (hour, reason), others = bad[0], len(bad) - 1
    return f"{hour:%Y-%m-%d %H:%M} UTC: {reason}{f'; {others} more hours' if others else ''}"


def _hours(lake: Lake, files: Sequence[StoredFile]) -> list[datetime]:
    """Return the post hours of these files' records, in order."""
    values = {"paths": [file.path for file in files]}
    rows = lake.connection.execute(query("maintenance/hours_of_files"), values).fetchall()
    return [hour for (hour,) in rows]


def _keep_uncounted(
    lake: Lake, folder: str, files: Sequence[StoredFile], counted: Sequence[datetime]
) -> None:
    """Copy the records that no table counts, such as those from before its first day."""
    values: dict[str, object] = {"files": [file.path for file in files], "counted": list(counted)}
    row = lake.connection.execute(query("maintenance/uncounted_records"), values).fetchone()
    if not row or not row[0]:
        return
    name = f"{folder.rpartition('/')[2]}-{fingerprint(files)}.parquet"
    path = f"{lake.layout.uncounted()}{name}"
    lake.connection.execute(query("maintenance/keep_uncounted"), {**values, "path": path})


def _write_receipt(lake: Lake, hour: datetime, files: Sequence[StoredFile]) -> None:
    """Write the receipt, before the first file is removed: the hour's toots are never replaced."""
    path = f"{lake.layout.removed_hour(hour)}{fingerprint(files)}.parquet"
    values = {
        "files": [lake.empty_record, *(file.path for file in files)],
        "hour_start": hour,
        "path": path,
    }
    lake.connection.execute(query("maintenance/receipt"), values)


def _count_unique_records(lake: Lake, files: Sequence[StoredFile], others: Set[str]) -> int:
    values = {
        "files": [lake.empty_record, *(file.path for file in files)],
        "others": [lake.empty_record, *sorted(others)],
    }
    row = lake.connection.execute(query("maintenance/unique_records"), values).fetchone()
    return int(row[0]) if row else 0


def _by_folder(paths: Set[str]) -> defaultdict[str, set[str]]:
    by_folder: defaultdict[str, set[str]] = defaultdict(set)
    for path in paths:
        by_folder[_folder(path)].add(path)
    return by_folder


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
