"""`make demo`: from nothing to counted toots, compared with what was really published.

Everything is real but the Mastodon servers: those are simulated on loopback and know exactly what
they published. The demo starts them as one more program of the native stack, so that they, the
stack and Dagster's UI stay up when it has ended.
"""

import os
import shutil
import sys
import time
import webbrowser
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import click
import duckdb
from dagster_graphql import DagsterGraphQLClient

from infra.native_stack import Stack, StackError
from infra.native_stack.__main__ import run_command
from infra.native_stack.simulated import SIMULATED_MARK, is_simulated
from infra.simulated_fediverse import ServerHour, SimulatedFediverse
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.settings import load_settings

COUNTED = """
    select strftime(hour, '%Y-%m-%d-%H'), server, toots::bigint
    from read_parquet($tables, union_by_name = true)
"""
RESULT_SECONDS = 480.0
"""How long the last toot may take from its publication into the table."""


def counted() -> dict[ServerHour, int]:
    """What the pipeline counted, read from `toots_per_server_per_hour` in the bucket."""
    settings = load_settings()
    tables = f"s3://{settings.s3_bucket}/usage/toots_per_server_per_hour/**/*.parquet"
    with connect_lake(settings) as lake:
        try:
            rows = lake.execute(COUNTED, {"tables": tables}).fetchall()
        except (duckdb.IOException, duckdb.HTTPException):
            return {}  # nothing has been counted yet, or MinIO has no bucket yet
    return {(hour, server): toots for hour, server, toots in rows}


def differences(truth: dict[ServerHour, int], result: dict[ServerHour, int]) -> int:
    """In how many server-hours the two differ."""
    return sum(truth.get(key, 0) != result.get(key, 0) for key in truth.keys() | result.keys())


def comparison(truth: dict[ServerHour, int], result: dict[ServerHour, int]) -> str:
    """Both, side by side, day by day; and every server-hour in which they differ."""
    was, found = by_day(truth), by_day(result)
    lines = [f"{'day (UTC)':<14} {'server':<20} {'published':>9} {'counted':>9}"]
    lines += [
        f"{day:<14} {server:<20} {was[day, server]:>9,} {found[day, server]:>9,}"
        for day, server in sorted(was.keys() | found.keys())
    ]
    lines.append(f"{'all':<14} {'':<20} {was.total():>9,} {found.total():>9,}")
    lines += [
        f"{hour:<14} {server:<20} {truth.get((hour, server), 0):>9,} "
        f"{result.get((hour, server), 0):>9,}   differs"
        for hour, server in sorted(truth.keys() | result.keys())
        if truth.get((hour, server), 0) != result.get((hour, server), 0)
    ]
    return "\n".join(lines)


def by_day(toots: dict[ServerHour, int]) -> Counter[ServerHour]:
    """The toots of each day and server."""
    found: Counter[ServerHour] = Counter()
    for (hour, server), number in toots.items():
        found[hour[: len("2026-11-24")], server] += number
    return found


def landed() -> bool:
    """Whether every record that Kafka holds is in the Parquet; says so, with the numbers."""
    settings = load_settings()
    with open_lake(settings) as lake:
        found = landing_completeness(settings, lake)
    click.echo(
        f"Kafka's records: {found.checked:,}, of them landed {found.landed:,}, dead letters "
        f"{found.dead_lettered:,}, missing {found.missing:,}"
    )
    return found.complete


def show_in_the_ui(stack: Stack) -> None:
    """Has Dagster observe and check what the schedules would, some minutes later, by themselves."""
    client = DagsterGraphQLClient("127.0.0.1", stack.ports.dagster_port, timeout=20)
    for job in ("observe_mastodon_topic", "observe_landed_toots", "landed_toots_check"):
        client.submit_job_execution(job)
    today = {"dagster/partition": f"{datetime.now(UTC):%Y-%m-%d}"}
    client.submit_job_execution("refresh_server_coverage", tags=today)


class Progress:
    """One line that says what is waited for: rewritten on a terminal, every 10 s elsewhere."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._said = 0.0

    def wait(self, seconds: float, look: Callable[[], tuple[bool, str]]) -> bool:
        """Looks each half second until done or late; whether it was done in time."""
        deadline = time.monotonic() + seconds
        while True:
            done, text = look()
            late = time.monotonic() > deadline
            self._say(text, last=done or late)
            if done or late:
                return done
            time.sleep(0.5)

    def _say(self, text: str, last: bool) -> None:
        now = time.monotonic()
        if sys.stdout.isatty():
            line = f"\r  {text} ({now - self._began:.0f} s)\x1b[K"
            click.echo(line, nl=last)
        elif last or now - self._said >= 10:
            self._said = now
            click.echo(f"  {text} ({now - self._began:.0f} s)")


def listening(fediverse: SimulatedFediverse) -> tuple[bool, str]:
    """Whether every server is listened to, and how many are."""
    status = fediverse.status()
    heard = sum(bool(one["streams_open"] or one["polls"]) for one in status["servers"])
    return status["started"], f"Dagster listens to {heard} of {fediverse.servers} servers"


def published(fediverse: SimulatedFediverse) -> tuple[bool, str]:
    """Whether all is published, and how far it is."""
    status = fediverse.status()
    text = f"published {status['published']:,} of {status['planned']:,} toots"
    return status["done"], text


def agrees(truth: dict[ServerHour, int]) -> tuple[bool, str]:
    """Whether the tables say what is true, and how far they are."""
    result = counted()
    text = f"counted {sum(result.values()):,} of {sum(truth.values()):,} toots"
    return differences(truth, result) == 0, text


def prepare_data(stack: Stack) -> None:
    """An empty data directory that is marked as holding simulated toots.

    What an earlier demo left is wiped: its toots would be counted again. Anything else is refused,
    so that simulated toots never stand beside real ones. Raises StackError.
    """
    if is_simulated(stack.data):
        click.echo("an earlier demo is here: stopping it and wiping its data")
        stack.down()
        shutil.rmtree(stack.data)
    elif stack.data.exists() and any(stack.data.iterdir()):
        raise StackError(
            f"{stack.data} holds real toots, which the demo would mix with simulated ones: wipe it "
            "(make clean), or run it elsewhere (make down; "
            "MASTODON_PIPELINE_DATA=$PWD/.data-demo make demo)"
        )
    stack.data.mkdir(parents=True, mode=0o700, exist_ok=True)
    (stack.data / SIMULATED_MARK).touch()


def start(stack: Stack, fediverse: SimulatedFediverse) -> None:
    """The stack, the simulated servers, and Dagster, which listens to them and nothing else."""
    settings = fediverse.listening_environment()
    # Dagster inherits this process' environment; the caller's own servers are not the demo's.
    os.environ.pop("MASTODON_SERVERS_FILE", None)
    os.environ.update(settings)
    click.echo("starting the stack, a simulated Fediverse, and Dagster")
    stack.up(with_dagster=True, extra=[fediverse.program(settings)])
    os.environ.update(stack.environment)


def compare(fediverse: SimulatedFediverse, progress: Progress) -> bool:
    """Waits until all is listened to, published and counted; prints both sides; do they agree?"""
    if not progress.wait(RESULT_SECONDS, lambda: listening(fediverse)):
        click.echo("not every server is listened to: see Runs in the UI", err=True)
        return False
    progress.wait(RESULT_SECONDS, lambda: published(fediverse))
    truth = fediverse.truth()
    progress.wait(RESULT_SECONDS, lambda: agrees(truth))
    result = counted()
    click.echo(f"\n{comparison(truth, result)}\n")
    return landed() and differences(truth, result) == 0


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--servers", default=3, show_default=True, type=click.IntRange(1, 50))
@click.option("--toots", default=12_000, show_default=True, type=click.IntRange(1))
@click.option("--hours", default=240.0, show_default=True, help="The past hours they spread over.")
@click.option("--seed", default=7, show_default=True, help="The same seed, the same toots.")
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
@click.option("--live", default=1.0, show_default=True, help="Toots a second afterwards; 0: none.")
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
    """From nothing to counted toots, compared with what a simulated Fediverse published.

    Exits 0 if every server-hour agrees, 1 if one differs. The stack and Dagster's UI stay up
    until `make down`.
    """
    stack = Stack(say=click.echo)
    fediverse = SimulatedFediverse(servers, toots, hours, seed, first_port, control_port)
    stack.fetch()
    prepare_data(stack)
    try:
        start(stack, fediverse)
        agreed = compare(fediverse, Progress())
        if agreed and live:
            fediverse.go_on_living(live)
        show_in_the_ui(stack)
    except KeyboardInterrupt:
        if stack.supervisor.running():  # else the start has cleaned up after itself
            click.echo("\nstopping what was started")
            stack.down()
        raise
    click.echo("every server-hour agrees" if agreed else "the pipeline's result is not the truth")
    click.echo(f"memory in all: {stack.memory_bytes() / 1e6:,.0f} MB")
    click.echo(f"Dagster's UI: {stack.addresses.dagster_url}    make down stops everything")
    if browser:
        webbrowser.open(stack.addresses.dagster_url)
    sys.exit(0 if agreed else 1)


def main() -> None:
    """Runs the demo; a person's mistake becomes one line on stderr and exit code 2."""
    run_command(demo)


if __name__ == "__main__":
    main()
