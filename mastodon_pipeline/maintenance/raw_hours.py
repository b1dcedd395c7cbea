"""Removes landed files: those of verified hours, and those that no snapshot names."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime

import duckdb

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.maintenance.objects import Remover
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.maintenance.verification import why_not_verified


def maintain_raw_hours(
    lake: Lake,
    remover: Remover,
    report: Report,
    *,
    hours: Mapping[datetime, Sequence[StoredFile]],
    named: Set[str],
    live: Set[str],
    settled: datetime,
    first_day: date,
) -> list[str]:
    """Remove the landed files of verified hours that no snapshot names any more.

    `hours` are those past their retention. `named` are the paths that any snapshot names, `live`
    those that the newest one names. An hour with a file written after `settled` (UTC) stays.
    Return the paths to drop from the newest snapshot: those of all verified hours.

    An hour's files are removed all together or not at all, so that its tables stay built from the
    files that are there.
    """
    live_by_hour = _by_hour(lake, live)
    drop: list[str] = []
    for number, (hour, files) in enumerate(sorted(hours.items())):
        remover.progress(f"verifying {hour:%Y-%m-%d %H:%M} UTC, {number:,} of {len(hours):,} hours")
        paths = {file.path for file in files}
        if hour.date() < first_day:
            reason: str | None = f"from before FIRST_DAY {first_day}, so never counted"
        elif any(file.modified >= settled for file in files):
            reason = "it got files lately, or the sink has not committed since"
        elif live_by_hour[hour] - paths:
            reason = "the Iceberg table names files of it that are not in the bucket"
        else:
            reason = why_not_verified(lake, hour, tuple(files))
        if reason is not None:
            report.hours_kept[hour] = reason
            continue
        report.hours_verified += 1
        drop += sorted(live_by_hour[hour])
        if paths & named:
            report.hours_waiting += 1
            continue
        report.hours_removed += 1
        for file in files:
            report.removed.add(file.size)
        if not report.dry_run:
            _write_receipt(lake, hour, files)
            remover.remove(files)
    return drop


def remove_data_orphans(
    lake: Lake,
    remover: Remover,
    report: Report,
    hours: Mapping[datetime, Sequence[StoredFile]],
    named: Set[str],
    live: Set[str],
    *,
    settled: datetime,
) -> None:
    """Remove landed files that no snapshot names, if the hour's live files have their records.

    Orphans with records that no live file has stay, and are reported as a fault: the tables hold
    these records, the Iceberg table does not.
    """
    live_by_hour = _by_hour(lake, live)
    removed = False
    for hour, files in sorted(hours.items()):
        orphans = [file for file in files if file.path not in named and file.modified < settled]
        if not orphans:
            continue
        remover.progress(f"checking {len(orphans)} orphans of {hour:%Y-%m-%d %H:%M} UTC")
        try:
            unique = _count_unique_records(lake, orphans, live_by_hour[hour])
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            report.faults.append(f"orphans of {hour:%Y-%m-%d %H:%M} UTC cannot be read: {reason}")
            continue
        if unique:
            report.faults.append(
                f"{unique:,} records of {hour:%Y-%m-%d %H:%M} UTC are in {len(orphans)} files that"
                f" the Iceberg table does not name, the first is {orphans[0].path}"
            )
            continue
        for file in orphans:
            report.data_orphans.add(file.size)
        if not report.dry_run:
            remover.remove(orphans)
            removed = True
    if removed:
        # The hours' tables were built from files that are gone: the marker makes the sensor check
        # all hours again.
        remover.touch(lake.layout.removal_marker())


def _write_receipt(lake: Lake, hour: datetime, files: Sequence[StoredFile]) -> None:
    """Write the receipt, before the first file is removed: the hour's toots are never replaced."""
    path = f"{lake.layout.removed_hour(hour)}{fingerprint(files)}.parquet"
    values = {"files": [lake.empty_record, *(file.path for file in files)], "path": path}
    lake.connection.execute(query("maintenance/receipt"), values)


def _count_unique_records(lake: Lake, files: Sequence[StoredFile], others: Set[str]) -> int:
    values = {
        "files": [file.path for file in files],
        "others": [lake.empty_record, *sorted(others)],
    }
    row = lake.connection.execute(query("maintenance/unique_records"), values).fetchone()
    return int(row[0]) if row else 0


def _by_hour(lake: Lake, paths: Set[str]) -> defaultdict[datetime, set[str]]:
    by_hour: defaultdict[datetime, set[str]] = defaultdict(set)
    for path in paths:
        if hour := lake.layout.hour_of(path):
            by_hour[hour].add(path)
    return by_hour
