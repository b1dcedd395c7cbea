"""Evaluating `landed_toots_sensor`, and what it returned."""

from collections.abc import Iterable
from unittest.mock import patch

import dagster as dg

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import RANGE_END, RANGE_START
from mastodon_pipeline.usage.refreshing import sensor
from mastodon_pipeline_tests.support.local_lake import LocalLakeResource

HOURLY, DAILY = "refresh_hourly_usage", "refresh_daily_usage"
TICKS = [0]
"""Evaluations so far."""


class Clock:
    """A clock that stands still; its builds take a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.5
        return self.seconds


def run(
    instance: dg.DagsterInstance,
    job: str,
    status: dg.DagsterRunStatus,
    first: str = "2026-11-24-15:00",
    last: str | None = None,
) -> str:
    """Create a run of this job for these partitions that has just reached this status; its id."""
    tags = {RANGE_START: first, RANGE_END: last or first}
    created = instance.create_run_for_job(
        job_def=definitions.resolve_job_def(job), status=status, tags=tags
    )
    assert created.status == status
    return created.run_id


def ranges(requests: Iterable[dg.RunRequest]) -> list[tuple[str | None, str, str]]:
    """Job, first and last partition of each request."""
    return [
        (request.job_name, request.tags[RANGE_START], request.tags[RANGE_END])
        for request in requests
    ]


def tick(instance: dg.DagsterInstance, lake: Lake, cursor: str | None = None) -> dg.SensorResult:
    """Evaluate the sensor once."""
    TICKS.append(TICKS[-1] + 1)
    context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=definitions)
    with patch.object(sensor, "LAKE", LocalLakeResource(root=lake.layout.root)):
        result = sensor.landed_toots_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def hourly(result: dg.SensorResult) -> list[tuple[str | None, str, str]]:
    """The runs of hours that a tick requested."""
    requests = result.run_requests or []
    return ranges(request for request in requests if request.job_name == HOURLY)


def materialized(result: dg.SensorResult) -> dict[str, set[str | None]]:
    """The partitions of each table that a tick reported as materialized."""
    tables: dict[str, set[str | None]] = {}
    for event in result.asset_events:
        if isinstance(event, dg.AssetMaterialization):
            tables.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
    return tables
