"""What is wrong now, as Dagster's storage and the disks show it; no service is asked.

Each kind is observed by itself: one that cannot be read leaves the others as they are, and its
problems neither begin nor end meanwhile.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from mastodon_pipeline.alerting.problems import (
    FAILURE_MEMORY_SECONDS,
    FLAPPING_SECONDS,
    Disk,
    EndedRun,
    FailedCheck,
    Problem,
    failed_checks,
    failing_runs,
    flapping_listeners,
    growing_dead_letters,
    nearly_full,
    plain_text,
    silent_server,
    unhealthy_sink,
    wrong_clock,
)
from mastodon_pipeline.alerting.rules import Observation
from mastodon_pipeline.asset_keys import LANDED_ASSET
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sink_report import load_sink_report
from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.listening.supervising.checks import CHECK_NAME as SERVERS_CHECK
from mastodon_pipeline.listening.supervising.checks import clock_problem, judge_configured
from mastodon_pipeline.listening.supervising.runs import DEFAULT_GROUP, GROUP_TAG
from mastodon_pipeline.listening.supervising.runs import JOB_NAME as LISTENER_JOB
from mastodon_pipeline.paths import data_directory
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.partition_keys import PARTITION, RANGE_END, RANGE_START

MAX_RUNS = 500
MAX_FAILURES = 20
MAX_SUCCESSES = 200
"""Of a check, the newest."""
ERROR = dg.AssetCheckSeverity.ERROR
STALE_REPORT_SECONDS = 300.0
"""`connector_supervisor` reports every 20 s; it may be switched off."""
_COMPLETE_CHECK = dg.AssetCheckKey(LANDED_ASSET, "landed_toots_complete")
_COVERED_JOBS = frozenset({LISTENER_JOB, kafka_connect_config.name})
"""Jobs whose failures are a listener's or the sink's problem."""

_Problems = list[Problem]
_Unknown = dict[str, str]


def observe(
    instance: dg.DagsterInstance,
    settings: Settings,
    checks: Iterable[dg.AssetCheckKey],
    now: float,
) -> Observation:
    """Return what is wrong now, and what could not be observed. Raises nothing.

    `checks`: those whose latest results count. `now`: seconds since 1970, UTC.
    """
    checks = sorted(checks)
    observers: tuple[tuple[str, Callable[[], tuple[_Problems, _Unknown]]], ...] = (
        ("disk/", lambda: (nearly_full(disks(instance)), {})),
        ("sink/", lambda: _sink(instance, settings, now)),
        ("listener/", lambda: (_listeners(instance, now), {})),
        ("server/", lambda: _servers(instance, settings, now)),
        ("check/", lambda: (failed_checks(red_checks(instance, checks)), {})),
        ("run/", lambda: (_runs(instance, now), {})),
    )
    problems: _Problems = []
    unknown: _Unknown = {}
    for prefix, observer in observers:
        try:
            observed, not_observed = observer()
        except Exception as error:  # a busy storage, a wrong setting: the next tick observes again
            words = str(error) if isinstance(error, PipelineError) else type(error).__name__
            unknown[prefix] = plain_text(words)
        else:
            problems += observed
            unknown |= not_observed
    return Observation(problems, unknown)


def disks(instance: dg.DagsterInstance) -> list[Disk]:
    """Return the file systems of the data directory, of each folder in it, and of Dagster's home.

    Kafka, MinIO and the catalog have a folder each; any may be a mount or a link.
    """
    data = data_directory()
    folders = [data, *sorted(data.iterdir())] if data.is_dir() else []
    by_device: dict[int, Disk] = {}
    for folder in (*folders, Path(instance.root_directory)):
        if folder.is_dir() and (device := folder.stat().st_dev) not in by_device:
            size = os.statvfs(folder)
            by_device[device] = Disk(
                str(folder), size.f_bavail * size.f_frsize, size.f_blocks * size.f_frsize
            )
    return list(by_device.values())


def _sink(
    instance: dg.DagsterInstance, settings: Settings, now: float
) -> tuple[_Problems, _Unknown]:
    problems: _Problems = []
    unknown: _Unknown = {}
    report = load_sink_report(instance)
    if report is None or now - report.written_at > STALE_REPORT_SECONDS:
        unknown["sink/health"] = "connector_supervisor does not report"
    elif not report.healthy:
        problems.append(unhealthy_sink(settings.connector_name, report.state, report.detail))
    if (problem := _dead_letters(instance)) is not None:
        problems.append(problem)
    return problems, unknown


def _listeners(instance: dg.DagsterInstance, now: float) -> _Problems:
    since = datetime.fromtimestamp(now - FLAPPING_SECONDS, UTC)
    failed = dg.RunsFilter(
        job_name=LISTENER_JOB, statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since
    )
    records = instance.get_run_records(failed, limit=MAX_RUNS)
    return flapping_listeners(
        [
            _ended(record, record.dagster_run.tags.get(GROUP_TAG, DEFAULT_GROUP))
            for record in records
        ],
        now,
    )


def _servers(
    instance: dg.DagsterInstance, settings: Settings, now: float
) -> tuple[_Problems, _Unknown]:
    problems: _Problems = []
    unknown: _Unknown = {}
    verdicts = judge_configured(instance, settings.servers(), now)
    if difference := clock_problem(verdicts):
        problems.append(wrong_clock(difference))
    for verdict in verdicts:
        feed = feed_key(verdict.server.base_url, verdict.server.feed)
        if verdict.level == "pending":
            unknown[f"server/{feed}"] = verdict.problem
        elif verdict.level != "ok":
            problems.append(silent_server(feed, verdict.server.name, verdict.problem))
    return problems, unknown


def _runs(instance: dg.DagsterInstance, now: float) -> _Problems:
    since = datetime.fromtimestamp(now - FAILURE_MEMORY_SECONDS, UTC)
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    runs = [
        _ended(record, record.dagster_run.job_name)
        for record in instance.get_run_records(failed, limit=MAX_RUNS)
        if record.dagster_run.job_name not in _COVERED_JOBS
    ]
    for job in sorted({run.job for run in runs}):
        succeeded = dg.RunsFilter(
            job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS], updated_after=since
        )
        runs += [
            _ended(record, job) for record in instance.get_run_records(succeeded, limit=MAX_RUNS)
        ]
    return failing_runs(runs, now)


def red_checks(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> list[FailedCheck]:
    """Return the checks of which a failure (ERROR) stands.

    Not only those whose latest result is one: a wrong hour's is followed by the next hour's.
    """
    red = []
    for check in checks:
        # Its servers are observed one by one.
        if check.name == SERVERS_CHECK or (failure := _standing_failure(instance, check)) is None:
            continue
        evaluation, (first, last) = failure
        partitions = f" ({first} to {last})" if first != last else f" ({first})" if first else ""
        asset = check.asset_key.to_user_string()
        red.append(FailedCheck(asset, check.name, evaluation.description or "", partitions))
    return red


def _standing_failure(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey
) -> tuple[dg.AssetCheckEvaluation, tuple[str, str]] | None:
    """Return the newest failure (ERROR) of the check that stands, with its partitions.

    It stands until the check passes for the same partitions, or until they are built again (then
    the check has a newer result for them). A check without partitions only has to pass.
    """
    latest = instance.get_latest_asset_check_evaluation_record(check)
    if latest is None:
        return None
    results = instance.event_log_storage.get_asset_check_execution_history
    status = type(latest.status)
    failures = results(check, MAX_FAILURES, status={status("FAILED")})
    if not failures:
        return None
    successes = results(check, MAX_SUCCESSES, status={status("SUCCEEDED")})
    partitions = _partitions(instance, {record.run_id for record in (*failures, *successes)})
    for record in failures:
        evaluation, event = record.evaluation, record.event
        if evaluation is None or event is None or evaluation.severity != ERROR:
            continue
        first, last = partitions.get(record.run_id, ("", ""))
        passed = any(
            success.id > record.id and (not first or (a <= first and last <= b))
            for success in successes
            for a, b in [partitions.get(success.run_id, ("", ""))]
        )
        if not passed and not (
            first and _built_since(instance, check.asset_key, (first, last), event)
        ):
            return evaluation, (first, last)
    return None


def _built_since(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    partitions: tuple[str, str],
    failure: dg.EventLogEntry,
) -> bool:
    """Return whether each of these partitions was built again after the failure, by another run."""
    first, last = partitions
    newest = instance.get_latest_storage_id_by_partition(
        asset,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        {first} if first == last else None,  # all hours of three years take 27 ms
    )
    ids = [storage_id for key, storage_id in newest.items() if first <= key <= last]
    if not ids:
        return False
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset, storage_ids=ids), limit=len(ids)
    ).records
    return all(
        record.timestamp > failure.timestamp and record.run_id != failure.run_id
        for record in records
    )


def _dead_letters(instance: dg.DagsterInstance) -> Problem | None:
    latest = instance.get_latest_asset_check_evaluation_record(_COMPLETE_CHECK)
    if latest is None:
        return None
    status = type(latest.status)
    completed = {status("FAILED"), status("SUCCEEDED")}
    results = instance.event_log_storage.get_asset_check_execution_history(
        _COMPLETE_CHECK, 2, status=completed
    )
    evaluations = [record.evaluation for record in results if record.evaluation is not None]
    if len(evaluations) < 2 or not evaluations[0].passed:  # if it is red, it has its own message
        return None
    after, before = (_number(evaluation, "dead_lettered") for evaluation in evaluations)
    return growing_dead_letters(before, after)


def _number(evaluation: dg.AssetCheckEvaluation, name: str) -> int:
    value = getattr(evaluation.metadata.get(name), "value", 0)
    return value if isinstance(value, int) else 0


def _partitions(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the first and the last partition of each run that has any."""
    runs = instance.get_run_records(dg.RunsFilter(run_ids=sorted(run_ids)))
    return {record.dagster_run.run_id: _range(record.dagster_run.tags) for record in runs}


def _ended(record: dg.RunRecord, name: str) -> EndedRun:
    run = record.dagster_run
    first, last = _range(run.tags)
    return EndedRun(
        run.run_id,
        name,
        run.status == dg.DagsterRunStatus.FAILURE,
        record.end_time or record.update_timestamp.timestamp(),
        first,
        last,
    )


def _range(tags: Mapping[str, str]) -> tuple[str, str]:
    single = tags.get(PARTITION, "")
    return tags.get(RANGE_START, single), tags.get(RANGE_END, single)
