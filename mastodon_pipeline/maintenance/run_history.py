"""Deletes the records of runs that a later run has superseded, and the files they leave.

With Dagster's default storage each run has an SQLite file of its own, and while toots come the
tables are refreshed twice a minute. `DagsterInstance.delete_run` deletes a run's record and all
its events, also from the index that the catalog reads, so what the catalog shows decides what
must stay: see `runs_shown`. It leaves the run's emptied SQLite file and its compute logs, which
`remove_leftovers` removes.

What is lost: the log of a deleted run, and its points in the plots of an asset's past.
Nothing here needs a lock: a run is deleted once, whoever deletes it, and what was superseded
stays superseded. Killed at any point, the next one goes on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import dagster as dg

PORTION = 500
"""Runs deleted at most at once: 7 s of work. An hour brings 140."""
PAGE = 500
FAILURES_STAY = timedelta(days=7)
"""A failed run is kept at least so long: somebody may want to know why."""
BACKFILL = "dagster/backfill"
"""The tag of a backfill's runs, which its page lists and counts: they stay."""

_ENDED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.CANCELED,
    dg.DagsterRunStatus.FAILURE,
)


@dataclass(slots=True)
class Purged:
    """What was deleted."""

    runs: int = 0
    kept: int = 0
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
    say: Callable[[str], object] = print,
    portion: int = PORTION,
) -> Purged:
    """Deletes runs of `jobs` that ended more than `days` days before `now` (UTC); 0 keeps all.

    Job by job, the oldest first, at most `portion` of them. Never a run that is not at its end, a
    failed one younger than a week, one of a backfill, or one that the catalog shows, see
    `runs_shown`; `checks` are the asset checks whose latest results are to stay.
    """
    purged = Purged()
    if not days:
        return purged
    jobs = tuple(jobs)
    shown = runs_shown(instance, jobs, checks)
    superseded: list[str] = []
    for record in _ended(instance, jobs, timedelta(days=days), now):
        run = record.dagster_run
        if run.run_id in shown or BACKFILL in run.tags:
            purged.kept += 1
        elif len(superseded) < portion:
            superseded.append(run.run_id)
        else:
            say(f"more than {portion} runs are superseded: the rest is for the next time")
            break
    for run_id in superseded:
        instance.delete_run(run_id)
        purged.runs += 1
        if purged.runs % 100 == 0:
            say(f"{purged.runs} of {len(superseded)} runs deleted")
    purged.bytes = remove_leftovers(instance)
    return purged


def runs_shown(
    instance: dg.DagsterInstance, jobs: Iterable[str], checks: Iterable[dg.AssetCheckKey]
) -> frozenset[str]:
    """The ids of the runs whose events the catalog shows as the present state.

    Those are, of every asset, the newest materialisation of each partition and the newest
    observation; of every check its newest execution; and of every job its newest run of each
    outcome.
    """
    shown: set[str] = set()
    for asset in instance.get_asset_keys():
        newest = instance.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = sorted(newest.values())
        for some in (ids[at : at + PAGE] for at in range(0, len(ids), PAGE)):
            of_these = dg.AssetRecordsFilter(asset, storage_ids=some)
            found = instance.fetch_materializations(of_these, limit=len(some)).records
            shown.update(record.run_id for record in found)
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
                one.dagster_run.run_id for one in instance.get_run_records(of_job, limit=1)
            )
    return frozenset(shown)


def remove_leftovers(instance: dg.DagsterInstance) -> int:
    """Removes SQLite files and compute logs of runs that are no more; returns their bytes.

    Dagster has no call for a deleted run's SQLite file. Where it is was read in its source:
    `history/runs/<run id>.db` under the instance's `root_directory`, with SQLite's `-wal` and
    `-shm` beside it. With another storage there are none, and none are looked for elsewhere.

    The files are listed before the runs are asked for, and a run's record is written before its
    files: so those of a run that begins meanwhile are not taken for leftovers.
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
                    size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
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
            which = dg.RunsFilter(job_name=job, statuses=[status], updated_before=now - stays)
            cursor: str | None = None
            while page := instance.get_run_records(which, PAGE, cursor=cursor, ascending=True):
                yield from page
                cursor = page[-1].dagster_run.run_id


def _without_record(instance: dg.DagsterInstance, run_ids: list[str]) -> Iterator[str]:
    for some in (run_ids[at : at + PAGE] for at in range(0, len(run_ids), PAGE)):
        known = set(instance.get_run_ids(dg.RunsFilter(run_ids=some)))
        yield from (run_id for run_id in some if run_id not in known)


def _run_id(name: str) -> str | None:
    try:
        return name if str(UUID(name)) == name else None
    except ValueError:
        return None
