"""`make demo`: run the whole pipeline, and compare its counts with what was published.

Everything is real except the Mastodon servers: they are simulated on loopback and know exactly what
they published. The simulator is one more program of the native stack, so servers, stack and
Dagster's UI stay up when the demo has ended.
"""

import os
import sys
import time
import webbrowser
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import click
import duckdb
import httpx

from infra.native_stack import Stack, StackError
from infra.native_stack.__main__ import run_command
from infra.native_stack.progress import Progress
from infra.native_stack.simulated import SIMULATED_MARK, is_simulated
from infra.simulated_fediverse import ServerHour, SimulatedFediverse
from mastodon_pipeline.errors import ObjectStoreUnavailable
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import load_settings

# What takes long to import is imported where it is used: the stack starts meanwhile.
COUNTED = """
    select strftime(hour, '%Y-%m-%d-%H'), server, toots::bigint, filename
    from read_parquet($tables, union_by_name = true, filename = true)
"""
LAUNCH = """
    mutation launch($params: ExecutionParams!) {
        launchRun(executionParams: $params) { __typename }
    }
"""
TIMEOUT_SECONDS = 480.0
"""The limit of each wait: for the listeners, for publication, and for the last toot's count."""
LAUNCH_SECONDS = 120.0
"""The limit of Dagster's answer: a second, but on a very busy machine."""
PUBLISHING_SECONDS = 10.0
"""How long the simulated servers take to publish the past."""


def counted_toots() -> dict[ServerHour, int]:
    """Read what the pipeline counted from `toots_per_server_per_hour` in the bucket."""
    settings = load_settings()
    tables = f"s3://{settings.s3_bucket}/usage/toots_per_server_per_hour/**/*.parquet"
    with connect_lake(settings) as lake:
        try:
            rows = lake.execute(COUNTED, {"tables": tables}).fetchall()
        except (duckdb.IOException, duckdb.HTTPException):
            return {}  # No table yet, or no bucket yet.
    return {(hour, server): toots for hour, server, toots, _ in rows}


class Counts:
    """What the tables in the bucket count, read again where a file has changed."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._etags: dict[str, str] = {}
        self._by_file: dict[str, dict[ServerHour, int]] = {}

    def read(self) -> dict[ServerHour, int]:
        """Return the counts of all hours."""
        root = self._lake.layout.root
        files = self._lake.parquet_files(f"{root}/usage/toots_per_server_per_hour/")
        etags = {file.path: file.etag for file in files}
        self._read(path for path, etag in etags.items() if self._etags.get(path) != etag)
        self._etags = etags
        return {key: toots for path in etags for key, toots in self._by_file.get(path, {}).items()}

    def _read(self, paths: Iterable[str]) -> None:
        changed = list(paths)
        if not changed:
            return
        rows = self._lake.connection.execute(COUNTED, {"tables": changed}).fetchall()
        self._by_file.update({path: {} for path in changed})
        for hour, server, toots, path in rows:
            self._by_file[path][hour, server] = toots


def differing_hours(
    published: dict[ServerHour, int], counted: dict[ServerHour, int]
) -> list[ServerHour]:
    """List the server-hours in which the two differ."""
    keys = sorted(published.keys() | counted.keys())
    return [key for key in keys if published.get(key, 0) != counted.get(key, 0)]


def comparison(published: dict[ServerHour, int], counted: dict[ServerHour, int]) -> str:
    """Return a table of both by day and server, and of every server-hour in which they differ."""
    published_by_day, counted_by_day = by_day(published), by_day(counted)
    lines = [f"{'day (UTC)':<14} {'server':<20} {'published':>9} {'counted':>9}"]
    lines += [
        f"{day:<14} {server:<20} {published_by_day[day, server]:>9,} "
        f"{counted_by_day[day, server]:>9,}"
        for day, server in sorted(published_by_day.keys() | counted_by_day.keys())
    ]
    lines.append(
        f"{'all':<14} {'':<20} {published_by_day.total():>9,} {counted_by_day.total():>9,}"
    )
    lines += [
        f"{hour:<14} {server:<20} {published.get((hour, server), 0):>9,} "
        f"{counted.get((hour, server), 0):>9,}   differs"
        for hour, server in differing_hours(published, counted)
    ]
    return "\n".join(lines)


def by_day(toots: dict[ServerHour, int]) -> Counter[ServerHour]:
    """Sum the toots of each day and server."""
    totals: Counter[ServerHour] = Counter()
    for (hour, server), number in toots.items():
        totals[hour[: len("2026-11-24")], server] += number
    return totals


def all_records_landed() -> bool:
    """Print Kafka's and the landed records; return whether every record has landed."""
    from mastodon_pipeline.landing.completeness import landing_completeness

    settings = load_settings()
    with open_lake(settings) as lake:
        completeness = landing_completeness(settings, lake)
    click.echo(
        f"records in Kafka: {completeness.checked:,}; landed {completeness.landed:,}, dead letters "
        f"{completeness.dead_lettered:,}, missing {completeness.missing:,}"
    )
    return completeness.complete


def launch_observations(stack: Stack) -> None:
    """Launch now, for the UI, the jobs that the schedules would launch minutes later."""
    for job in ("observe_mastodon_topic", "observe_landed_toots", "landed_toots_check"):
        launch(stack, job)
    launch(stack, "refresh_server_coverage", partition=f"{datetime.now(UTC):%Y-%m-%d}")


def launch(stack: Stack, job: str, partition: str | None = None) -> None:
    """Launch a run of a job, or put it into the queue.

    Raises StackError if Dagster refuses or does not answer.
    """
    tags = [{"key": "dagster/partition", "value": partition}] if partition else []
    params = {
        "selector": {
            "jobName": job,
            "repositoryName": "__repository__",
            "repositoryLocationName": "mastodon_pipeline",
        },
        "executionMetadata": {"tags": tags},
    }
    body = {"query": LAUNCH, "variables": {"params": params}}
    url = f"{stack.addresses.dagster_url}/graphql"
    try:
        answer = httpx.post(url, json=body, timeout=LAUNCH_SECONDS).raise_for_status().json()
    except httpx.HTTPError as error:
        raise StackError(f"Dagster does not launch {job}: {error}") from None
    kind = (answer.get("data") or {}).get("launchRun", {}).get("__typename")
    if kind != "LaunchRunSuccess":
        raise StackError(f"Dagster does not launch {job}: {kind or answer}")


def observe_listeners(fediverse: SimulatedFediverse) -> tuple[bool, str]:
    """Return whether Dagster listens to every server, and a description."""
    status = fediverse.status()
    listened = sum(bool(server["streams_open"] or server["polls"]) for server in status["servers"])
    return status["started"], f"Dagster listens to {listened} of {fediverse.servers} servers"


def observe_publication(fediverse: SimulatedFediverse) -> tuple[bool, str]:
    """Return whether all toots are published, and a description."""
    status = fediverse.status()
    return status["done"], f"published {status['published']:,} of {status['planned']:,} toots"


def observe_counts(published: dict[ServerHour, int], counts: Counts) -> tuple[bool, str]:
    """Return whether the pipeline's counts equal the published toots, and a description."""
    try:
        counted = counts.read()
    except (duckdb.Error, ObjectStoreUnavailable):
        counted = {}  # A table was replaced while it was read, or there is no bucket yet.
    text = f"counted {sum(counted.values()):,} of {sum(published.values()):,} toots"
    return not differing_hours(published, counted), text


def prepare_data(stack: Stack) -> None:
    """Create an empty data directory, marked as holding simulated toots.

    Data of an earlier demo is deleted: its toots would be counted again. Raises StackError if the
    directory holds anything else, so that simulated toots never mix with real ones.
    """
    if is_simulated(stack.data):
        click.echo("stopping an earlier demo and deleting its data")
        stack.down()
        stack.remove_data()
    elif stack.data.exists() and any(stack.data.iterdir()):
        raise StackError(
            f"{stack.data} holds real toots, which the demo would mix with simulated ones: delete "
            "it (make clean), or use another directory (make down; "
            "MASTODON_PIPELINE_DATA=$PWD/.data-demo make demo)"
        )
    stack.data.mkdir(parents=True, mode=0o700, exist_ok=True)
    (stack.data / SIMULATED_MARK).touch()


def start(stack: Stack, fediverse: SimulatedFediverse) -> None:
    """Start the stack, the simulated servers, and Dagster, which listens to these servers only."""
    settings = fediverse.listening_environment()
    # Dagster inherits our environment, which may name the caller's servers.
    os.environ.pop("MASTODON_SERVERS_FILE", None)
    os.environ.update(settings)
    click.echo("starting the stack, a simulated Fediverse, and Dagster")
    stack.up(with_dagster=True, extra=[fediverse.program(settings)])
    os.environ.update(stack.environment)


def compare(fediverse: SimulatedFediverse, progress: Progress) -> bool:
    """Wait until all toots are published and counted; print both; return whether they agree."""
    if not progress.wait_for(lambda: observe_listeners(fediverse), TIMEOUT_SECONDS):
        click.echo("Dagster does not listen to every server: see Runs in the UI", err=True)
        return False
    progress.wait_for(lambda: observe_publication(fediverse), TIMEOUT_SECONDS)
    published = fediverse.truth()
    with open_lake(load_settings()) as lake:
        counts = Counts(lake)
        progress.wait_for(lambda: observe_counts(published, counts), TIMEOUT_SECONDS)
    counted = counted_toots()
    click.echo(f"\n{comparison(published, counted)}\n")
    return all_records_landed() and not differing_hours(published, counted)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--servers", default=3, show_default=True, type=click.IntRange(1, 50))
@click.option("--toots", default=12_000, show_default=True, type=click.IntRange(1))
@click.option(
    "--hours", default=240.0, show_default=True, help="The past hours they are spread over."
)
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same toots.")
@click.option(
    "--first-port", default=9101, envvar="SIMULATOR_PORT", show_default=True, show_envvar=True
)
@click.option(
    "--control-port",
    default=9100,
    envvar="SIMULATOR_CONTROL_PORT",
    show_default=True,
    show_envvar=True,
)
@click.option(
    "--live", default=1.0, show_default=True, help="Toots per second afterwards; 0 for none."
)
@click.option("--browser", is_flag=True, help="Open Dagster's UI at the end.")
def demo(
    servers: int,
    toots: int,
    hours: float,
    seed: int,
    first_port: int,
    control_port: int,
    live: float,
    browser: bool,
) -> None:
    """Run the whole pipeline, and compare its counts with what simulated servers published.

    Exits with 0 if every server-hour agrees, with 1 if one differs. The stack and Dagster's UI
    stay up until `make down`.
    """
    began = time.monotonic()
    stack = Stack(say=click.echo)
    fediverse = SimulatedFediverse(
        servers, toots, hours, seed, first_port, control_port, seconds=PUBLISHING_SECONDS
    )
    stack.fetch()
    prepare_data(stack)
    try:
        start(stack, fediverse)
        agreed = compare(fediverse, Progress(click.echo))
        if agreed and live:
            fediverse.publish_live(live)
        launch_observations(stack)
    except KeyboardInterrupt:
        if stack.supervisor.running():  # Else `up` was interrupted, and has cleaned up.
            click.echo("\nstopping what was started")
            stack.down()
        raise
    click.echo(
        f"every server-hour agrees, after {time.monotonic() - began:.0f} s"
        if agreed
        else "the counts differ from what was published"
    )
    click.echo(f"total memory: {stack.memory_bytes() / 1e6:,.0f} MB")
    click.echo(f"dashboard:    {stack.addresses.dashboard_url}")
    click.echo(f"Dagster's UI: {stack.addresses.dagster_url}    make down stops everything")
    if browser:
        webbrowser.open(stack.addresses.dagster_url)
    sys.exit(0 if agreed else 1)


def main() -> None:
    """Run the demo; a PipelineError becomes one line on stderr and the error's exit code."""
    run_command(demo)


if __name__ == "__main__":
    main()
