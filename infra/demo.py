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
from collections.abc import Callable
from pathlib import Path

import click

from infra.counting import Counting, counted_toots, differing_hours
from infra.launching import launch_observations
from infra.native_stack import Stack, StackError
from infra.native_stack.__main__ import run_command
from infra.native_stack.progress import Progress
from infra.native_stack.simulated import SIMULATED_MARK, is_simulated
from infra.simulated_fediverse import ServerHour, SimulatedFediverse
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.paths import BASE_DIRECTORY
from mastodon_pipeline.setting_files import read_variables
from mastodon_pipeline.settings import load_settings

TIMEOUT_SECONDS = 480.0
"""The limit of each wait: for listeners, publication, landing, and the last toot's count."""
PUBLISHING_SECONDS = 10.0
"""How long the simulated servers take to publish the past: as long as the sink until it commits."""


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


def observe_listeners(fediverse: SimulatedFediverse) -> tuple[bool, str]:
    """Return whether Dagster listens to every server, and a description."""
    status = fediverse.status()
    listened = sum(bool(server["streams_open"] or server["polls"]) for server in status["servers"])
    return status["started"], f"Dagster listens to {listened} of {fediverse.servers} servers"


def observe_publication(fediverse: SimulatedFediverse) -> tuple[bool, str]:
    """Return whether all toots are published, and a description."""
    status = fediverse.status()
    return status["done"], f"published {status['published']:,} of {status['planned']:,} toots"


def observe_landing(counting: Counting, toots: int) -> tuple[bool, str]:
    """Return whether as many records have landed as there are toots, and a description.

    A toot has one at least. Copies, edits and deletes may follow.
    """
    landed, records = counting.landed_records()
    return landed >= toots, f"landed {landed:,} of {records:,} records"


def observe_counts(counting: Counting, published: dict[ServerHour, int]) -> tuple[bool, str]:
    """Return whether the pipeline's counts equal the published toots, and a description."""
    counted = counting.counted()
    text = f"counted {sum(counted.values()):,} of {sum(published.values()):,} toots"
    return not differing_hours(published, counted), text


def refuse_own_servers(directory: Path = BASE_DIRECTORY) -> None:
    """Raise StackError if `.env` in the directory that Dagster is started in names servers.

    Dagster reads that file by itself, and prefers it to the environment: the demo would listen to
    those servers, and not to the simulated ones.
    """
    own = directory / ".env"
    names = {"MASTODON_SERVERS", "MASTODON_SERVERS_FILE"} & read_variables(own).keys()
    if names:
        raise StackError(
            f"{own} sets {' and '.join(sorted(names))}, so Dagster would listen to real servers in"
            " place of the simulated ones: move it away for the demo (mv .env .env.mine)"
        )


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


def compare(
    fediverse: SimulatedFediverse, progress: Progress, dagster_url: str | None = None
) -> bool:
    """Wait until all toots are published, landed and counted; return whether the counts agree.

    Prints both. With Dagster's address, what has landed is counted at once, while later toots are
    still published; else when the sensor ticks.
    """
    from mastodon_pipeline.landing.sink_progress import open_sinks_reader

    if not progress.wait_for(lambda: observe_listeners(fediverse), TIMEOUT_SECONDS):
        click.echo("Dagster does not listen to every server: see Runs in the UI", err=True)
        return False
    settings = load_settings()
    with open_lake(settings) as lake, open_sinks_reader(settings) as reader:
        counting = Counting(fediverse, lake, reader, dagster_url)

        def wait_for(observe: Callable[[], tuple[bool, str]]) -> None:
            def count_and_observe() -> tuple[bool, str]:
                counting.count_landed()
                return observe()

            progress.wait_for(count_and_observe, TIMEOUT_SECONDS)

        wait_for(lambda: observe_publication(fediverse))
        published = fediverse.truth()
        wait_for(lambda: observe_landing(counting, sum(published.values())))
        wait_for(lambda: observe_counts(counting, published))
    counted = counted_toots()
    click.echo(f"\n{comparison(published, counted)}\n")
    return all_records_landed() and not differing_hours(published, counted)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--servers", default=3, show_default=True, type=click.IntRange(1, 50))
@click.option("--toots", default=12_000, show_default=True, type=click.IntRange(1))
@click.option(
    "--hours", default=168.0, show_default=True, help="The past hours they are spread over."
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
    refuse_own_servers()
    stack = Stack(say=click.echo)
    fediverse = SimulatedFediverse(
        servers, toots, hours, seed, first_port, control_port, seconds=PUBLISHING_SECONDS
    )
    stack.fetch()
    prepare_data(stack)
    try:
        start(stack, fediverse)
        agreed = compare(fediverse, Progress(click.echo), stack.addresses.dagster_url)
        if agreed and live:
            fediverse.publish_live(live)
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
    launch_observations(stack.addresses.dagster_url)
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
