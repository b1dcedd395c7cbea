"""The runs of Dagster that the demo launches, rather than wait for a sensor or a schedule."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from infra.native_stack import StackError
from mastodon_pipeline.usage.partition_keys import (
    DAY_KEY,
    HOUR_KEY,
    PARTITION,
    RANGE_END,
    RANGE_START,
)

UNFINISHED = """
    query unfinished($filter: RunsFilter!) {
        runsOrError(filter: $filter) { ... on Runs { results { runId } } }
    }
"""
COUNTING = "refresh_hourly_usage"
STATUSES = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED")
"""Of an unfinished run."""
ONE_AT_A_TIME = "mastodon/first_observation"
"""A tag: `dagster.yaml` lets one run that has it run at once."""
MOST_HOURS = 300
"""In one run, as the sensor has it."""
ANSWER_SECONDS = 120.0
"""The limit of Dagster's answer: a second, but on a very busy machine."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A run to launch: a job, and the partition or the range of partitions that it builds."""

    job: str
    tags: Mapping[str, str] = field(default_factory=dict)


def launch_observations(dagster_url: str) -> None:
    """Launch now, for the UI, the jobs that the schedules would launch minutes later.

    They run one after another, so that the demo's end takes no more memory than its middle.
    Raises StackError as `launch` does.
    """
    today = {PARTITION: f"{datetime.now(UTC):{DAY_KEY}}"}
    jobs = ("landed_toots_check", "observe_landed_toots", "observe_mastodon_topic")
    runs = (Launch("refresh_server_coverage", today), *map(Launch, jobs))
    launch(dagster_url, *(replace(run, tags={**run.tags, ONE_AT_A_TIME: "demo"}) for run in runs))


def launch_counting(dagster_url: str, hours: Collection[datetime], own: set[str]) -> bool:
    """Launch the run that counts these hours (UTC) and those between them, in place of the sensor.

    `own`: the runs that were launched so; the new one is added. Return False if another is
    unfinished, one of the sensor's: it may count these hours. More hours than the sensor puts into
    one run are left to it. Raises StackError as `launch` does.
    """
    first, last = min(hours), max(hours)
    if last - first >= timedelta(hours=MOST_HOURS):
        return True
    unfinished = {"filter": {"pipelineName": COUNTING, "statuses": STATUSES}}
    try:
        runs = ask(dagster_url, UNFINISHED, unfinished)["runsOrError"]["results"]
    except (httpx.HTTPError, KeyError, TypeError) as error:
        raise StackError(f"Dagster does not launch {COUNTING}: {error}") from None
    if any(run["runId"] not in own for run in runs):
        return False
    keys = {RANGE_START: f"{first:{HOUR_KEY}}", RANGE_END: f"{last:{HOUR_KEY}}"}
    own.update(launch(dagster_url, Launch(COUNTING, keys)))
    return True


def launch(dagster_url: str, *runs: Launch) -> list[str]:
    """Launch runs by one request, or put them into the queue; return their ids.

    Raises StackError if Dagster refuses one or does not answer.
    """
    parameters = ", ".join(f"$run{number}: ExecutionParams!" for number in range(len(runs)))
    fields = " ".join(
        f"run{number}: launchRun(executionParams: $run{number})"
        " { __typename ... on LaunchRunSuccess { run { runId } } }"
        for number in range(len(runs))
    )
    variables = {
        f"run{number}": {
            "selector": {
                "jobName": run.job,
                "repositoryName": "__repository__",
                "repositoryLocationName": "mastodon_pipeline",
            },
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in run.tags.items()]
            },
        }
        for number, run in enumerate(runs)
    }
    try:
        data = ask(dagster_url, f"mutation launch({parameters}) {{ {fields} }}", variables)
    except httpx.HTTPError as error:
        names = ", ".join(run.job for run in runs)
        raise StackError(f"Dagster does not launch {names}: {error}") from None
    ids = []
    for number, run in enumerate(runs):
        answer = (data or {}).get(f"run{number}") or {}
        if answer.get("__typename") != "LaunchRunSuccess":
            raise StackError(f"Dagster does not launch {run.job}: {answer or data}")
        ids.append(answer["run"]["runId"])
    return ids


def ask(dagster_url: str, query: str, variables: Mapping[str, Any]) -> Any:
    """Return the data of Dagster's answer to a GraphQL query. Raises httpx.HTTPError."""
    url = f"{dagster_url}/graphql"
    body = {"query": query, "variables": variables}
    answer = httpx.post(url, json=body, timeout=ANSWER_SECONDS).raise_for_status().json()
    return answer.get("data")
