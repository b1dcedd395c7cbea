"""The landed files themselves: those of verified hours, and those that nothing names."""

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
    """Removes the landed files of verified hours that no snapshot names any more.

    `hours` are those past their retention; `named` by any snapshot, `live` by the newest. Files
    written after `settled` (UTC) keep their hour. Returns the paths that the newest snapshot
    should name no more: those of the other verified hours.

    An hour's files go together or not at all, so that its tables stay built from what is there.
    """
    live_in = _by_hour(lake, live)
    drop: list[str] = []
    for number, (hour, files) in enumerate(sorted(hours.items())):
        remover.progress(f"verifying {hour:%Y-%m-%d %H:%M} UTC, {number:,} of {len(hours):,} hours")
        here = {file.path for file in files}
        if hour.date() < first_day:
            why: str | None = f"from before FIRST_DAY {first_day}, so never counted"
        elif any(file.modified >= settled for file in files):
            why = "it got files lately, or the sink has not committed since"
        elif live_in[hour] - here:
            why = "the Iceberg table names files of it that are not in the bucket"
        else:
            why = why_not_verified(lake, hour, tuple(files))
        if why is not None:
            report.hours_kept[hour] = why
            continue
        report.hours_verified += 1
        drop += sorted(live_in[hour])
        if here & named:
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
    """Removes landed files that no snapshot names, and whose records live files of the hour have.

    What has records of its own is left, and told as a fault: the tables hold them, the Iceberg
    table does not.
    """
    live_in = _by_hour(lake, live)
    removed = False
    for hour, files in sorted(hours.items()):
        orphans = [file for file in files if file.path not in named and file.modified < settled]
        if not orphans:
            continue
        remover.progress(f"looking at {len(orphans)} orphans of {hour:%Y-%m-%d %H:%M} UTC")
        try:
            own = _records_of_their_own(lake, orphans, live_in[hour])
        except duckdb.Error as error:
            told = str(error).splitlines()[0]
            report.faults.append(f"orphans of {hour:%Y-%m-%d %H:%M} UTC cannot be read: {told}")
            continue
        if own:
            report.faults.append(
                f"{own:,} records of {hour:%Y-%m-%d %H:%M} UTC are in {len(orphans)} files that"
                f" the Iceberg table does not name, the first is {orphans[0].path}"
            )
            continue
        for file in orphans:
            report.data_orphans.add(file.size)
        if not report.dry_run:
            remover.remove(orphans)
            removed = True
    if removed:
        # The hours' tables stand on files that are gone: whoever watches them has to look anew.
        remover.touch(lake.layout.removal_marker())


def _write_receipt(lake: Lake, hour: datetime, files: Sequence[StoredFile]) -> None:
    """Before the first file is removed: from now on the hour's toots are never replaced."""
    path = f"{lake.layout.removed_hour(hour)}{fingerprint(files)}.parquet"
    values = {"files": [lake.empty_record, *(file.path for file in files)], "path": path}
    lake.connection.execute(query("maintenance/receipt"), values)


def _records_of_their_own(lake: Lake, files: Sequence[StoredFile], others: Set[str]) -> int:
    values = {
        "files": [file.path for file in files],
        "others": [lake.empty_record, *sorted(others)],
    }
    row = lake.connection.execute(query("maintenance/records_of_their_own"), values).fetchone()
    return int(row[0]) if row else 0


def _by_hour(lake: Lake, paths: Set[str]) -> defaultdict[datetime, set[str]]:
    by_hour: defaultdict[datetime, set[str]] = defaultdict(set)
    for path in paths:
        if hour := lake.layout.hour_of(path):
            by_hour[hour].add(path)
    return by_hour
