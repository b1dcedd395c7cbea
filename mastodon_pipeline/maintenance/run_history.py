"""Deletes the records of runs that a later run has superseded, and the files they leave.

With Dagster's default storage each run has its own SQLite file, and checks, observations and the
tables make 800 a day. `DagsterInstance.delete_run` deletes a run's record and all its
events, also from the index that the catalog reads. So what the catalog shows decides what must
stay: see `runs_shown`. `delete_run` leaves the run's emptied SQLite file and its compute logs,
which `remove_leftovers` removes.

What is lost: the log of a deleted run, and its points in the plots of an asset's history.
Nothing here needs a lock: deleting a run twice is harmless, and what was superseded stays
superseded. If a purge is killed at any point, the next one continues.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import dagster as dg

T = TypeVar("T")

MOST_DELETED = 500
"""Runs that one purge deletes at most: 7 s of work. Six hours add 200."""
PAGE_SIZE = 500
FAILURES_STAY = timedelta(days=7)
"""How long a failed run stays at least, for a person to see why it failed."""
NAMES_STAY = timedelta(days=1)
"""How long a run stays whose configuration names a person."""
BACKFILL_TAG = "dagster/backfill"
"""The tag of a backfill's runs: they stay, since the backfill's page lists and counts them."""

_ENDED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.CANCELED,
    dg.DagsterRunStatus.FAILURE,
)


@dataclass(slots=True)
class Purge:
    """The result of one purge."""

    deleted: int = 0
    """Runs."""
    retained: int = 0
    """Runs that are old enough, but that the catalog shows: a partition's newest, for instance."""
    bytes: int = 0
    """Of the SQLite files and compute logs that were removed."""


def purge_superseded_runs(
    instance: dg.DagsterInstance,
    jobs: Iterable[str],
    checks: Iterable[dg.AssetCheckKey],
    *,
    days: int,
    now: datetime,
    log: Callable[[str], object] = print,
    limit: int = MOST_DELETED,
) -> Purge:
    """Delete runs of `jobs` that ended more than `days` days before `now` (UTC); 0 deletes none.

    Job by job, the oldest first, at most `limit` of them. Never a run that has not ended, a failed
    one younger than a week, one of a backfill, or one that the catalog shows, see `runs_shown`;
    `checks` are the asset checks whose latest results must stay.
    """
    purge = Purge()
    if not days:
        return purge
    jobs = tuple(jobs)
    shown = runs_shown(instance, jobs, checks)
    superseded: list[str] = []
    for record in _ended(instance, jobs, timedelta(days=days), now):
        run = record.dagster_run
        if run.run_id in shown or BACKFILL_TAG in run.tags:
            purge.retained += 1
        elif len(superseded) < limit:
            superseded.append(run.run_id)
        else:
            log(f"more than {limit} runs are superseded: the next purge deletes the rest")
            break
    for run_id in superseded:
        instance.delete_run(run_id)
        purge.deleted += 1
        if purge.deleted % 100 == 0:
            log(f"{purge.deleted} of {len(superseded)} runs deleted")
    purge.bytes = remove_leftovers(instance)
    return purge


def purge_naming_runs(instance: dg.DagsterInstance, jobs: Iterable[str], now: datetime) -> int:
    """Delete each run of `jobs` that ended more than a day before `now` (UTC); return how many.

    For jobs whose configuration names a person: also the newest run, and one that failed.
    """
    old = [
        record.dagster_run.run_id
        for job in jobs
        for record in instance.get_run_records(
            dg.RunsFilter(job_name=job, statuses=[*_ENDED], updated_before=now - NAMES_STAY)
        )
    ]
    for run_id in old:
        instance.delete_run(run_id)
    if old:
        remove_leftovers(instance)
    return len(old)


def runs_shown(
    instance: dg.DagsterInstance, jobs: Iterable[str], checks: Iterable[dg.AssetCheckKey]
) -> frozenset[str]:
    """Return the ids of the runs whose events the catalog shows as the present state.

    These are, for every asset, the newest materialisation of each partition and the newest
    observation; for every check its newest execution; and for every job its newest run of each
    outcome.
    """
    shown: set[str] = set()
    for asset in instance.get_asset_keys():
        newest = instance.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        for ids in _pages(sorted(newest.values())):
            by_id = dg.AssetRecordsFilter(asset, storage_ids=ids)
            records = instance.fetch_materializations(by_id, limit=len(ids)).records
            shown.update(record.run_id for record in records)
        unpartitioned = instance.fetch_materializations(asset, limit=1).records
        observed = instance.fetch_observations(asset, limit=1).records
        shown.update(record.run_id for record in (*unpartitioned, *observed))
    for check in checks:
        if execution := instance.get_latest_asset_check_evaluation_record(check):
            shown.add(execution.run_id)
    for job in jobs:
        for status in _ENDED:
            of_job = dg.RunsFilter(job_name=job, statuses=[status])
            shown.update(
                record.dagster_run.run_id for record in instance.get_run_records(of_job, limit=1)
            )
    return frozenset(shown)


def remove_leftovers(instance: dg.DagsterInstance) -> int:
    """Remove SQLite files and compute logs of deleted runs; return their bytes.

    Dagster has no call for a deleted run's SQLite file. Its place was read in Dagster's source:
    `history/runs/<run id>.db` under the instance's `root_directory`, with SQLite's `-wal` and
    `-shm` beside it. With another storage there are none, and no other place is searched.

    The files are listed before the runs are queried, and a run's record is written before its
    files: so the files of a run that starts meanwhile are not taken for leftovers.
    """
    history = Path(instance.root_directory) / "history" / "runs"
    logs = Path(instance.storage_directory())
    files: dict[str, list[Path]] = {}
    for path in (*history.glob("*.db*"), *(path for path in logs.glob("*-*") if path.is_dir())):
        if run_id := _run_id(path.name.split(".db")[0]):
            files.setdefault(run_id, []).append(path)
    removed = 0
    for run_id in _without_record(instance, list(files)):
        for path in files[run_id]:
            with suppress(FileNotFoundError):  # another purge was faster
                if path.is_dir():
                    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                    instance.compute_log_manager.delete_logs(prefix=[run_id])
                else:
                    size = path.stat().st_size
                    path.unlink()
                removed += size
    return removed


def _ended(
    instance: dg.DagsterInstance, jobs: Sequence[str], age: timedelta, now: datetime
) -> Iterator[dg.RunRecord]:
    for job in jobs:
        for status in _ENDED:
            stays = max(age, FAILURES_STAY) if status is dg.DagsterRunStatus.FAILURE else age
            old = dg.RunsFilter(job_name=job, statuses=[status], updated_before=now - stays)
            cursor: str | None = None
            while page := instance.get_run_records(old, PAGE_SIZE, cursor=cursor, ascending=True):
                yield from page
                cursor = page[-1].dagster_run.run_id


def _without_record(instance: dg.DagsterInstance, run_ids: list[str]) -> Iterator[str]:
    for page in _pages(run_ids):
        existing = set(instance.get_run_ids(dg.RunsFilter(run_ids=page)))
        yield from (run_id for run_id in page if run_id not in existing)


def _pages(ids: list[T]) -> Iterator[list[T]]:
    return (ids[start : start + PAGE_SIZE] for start in range(0, len(ids), PAGE_SIZE))


def _run_id(name: str) -> str | None:
    try:
        return name if str(UUID(name)) == name else None
    except ValueError:
        return None
