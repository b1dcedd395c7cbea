"""The command line: `python -m infra.native_stack`."""

import os
import signal
import sys
from types import FrameType

import click

from infra.native_stack import ProgramStatus, Stack, StackError
from infra.native_stack.simulated import is_simulated
from mastodon_pipeline.cli.contact import ask_for_contact
from mastodon_pipeline.errors import PipelineError, one_line
from mastodon_pipeline.settings import load_settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Run Kafka, the schema registry, Kafka Connect and MinIO as local processes.

    Everything listens on 127.0.0.1. Data, logs and MinIO's generated credentials are under .data,
    or MASTODON_PIPELINE_DATA; downloads under ~/.cache/mastodon-pipeline, or
    MASTODON_PIPELINE_CACHE. Each port has a variable: KAFKA_PORT (9092), KAFKA_CONTROLLER_PORT
    (9093), REGISTRY_PORT (8081), REGISTRY_MANAGEMENT_PORT (8090), CONNECT_PORT (8083), MINIO_PORT
    (9000), MINIO_CONSOLE_PORT (9001), DAGSTER_PORT (3000), DASHBOARD_PORT (8501).
    """


@cli.command()
def fetch() -> None:
    """Download and build what is needed, about 5 minutes the first time; `up` does it too."""
    Stack(say=click.echo).fetch()


@cli.command()
@click.option("--with-dagster", is_flag=True, help="Also start Dagster's webserver and daemon.")
@click.option("--restart", is_flag=True, help="Restart what is already running.")
def up(with_dagster: bool, restart: bool) -> None:
    """Start what is not running, and return when everything is ready.

    A program that dies later is restarted. Running `up` twice changes nothing, except that a
    program whose configuration or environment has changed is restarted.
    """
    stack = Stack(say=click.echo)
    if with_dagster and is_simulated(stack.data):
        raise StackError(
            f"{stack.data} holds the demo's simulated toots, and real ones must not be mixed with "
            "them: delete it first (make clean)"
        )
    if with_dagster:
        ask_for_contact(load_settings())
    stack.up(with_dagster=with_dagster, restart=restart)
    if with_dagster:
        click.echo(f"dashboard:    {stack.addresses.dashboard_url}")
        click.echo(f"Dagster's UI: {stack.addresses.dagster_url}    make down stops everything")
        if not load_settings().servers():
            click.echo("no servers are configured: make up SERVERS=mastodon.social")


@cli.command()
def down() -> None:
    """Stop everything; the data stays."""
    Stack(say=click.echo).down()


@cli.command()
def status() -> None:
    """Show programs, addresses and memory; exit with 0 only if all programs are ready."""
    stack = Stack(say=click.echo)
    programs = stack.status()
    if not programs:
        orphans = stack.count_orphans()
        click.echo(
            f"the process manager of {stack.data} is gone, but {orphans} of its processes still "
            "run: make up, or make down to end them"
            if orphans
            else f"the stack of {stack.data} is not running: make up, or make demo"
        )
        sys.exit(1)
    click.echo(f"{'program':<18} {'state':<14} {'pid':>7} {'MB':>6}  address and log")
    for program in programs:
        click.echo(_line(program))
    click.echo(f"total memory:  {stack.memory_bytes() / 1e6:.0f} MB")
    click.echo(f"credentials:   {stack.env_file} (readable by you only)")
    click.echo(f"data:          {stack.data}")
    sys.exit(0 if all(program.state == "ready" for program in programs) else 1)


@cli.command()
def clean() -> None:
    """Stop everything and delete the data directory: toots, tables, history, credentials."""
    Stack(say=click.echo).clean()


@cli.command()
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until Ctrl-C.")
@click.option("-n", "--lines", default=40, show_default=True, help="Lines of each log.")
@click.argument("program", required=False)
def logs(program: str | None, follow: bool, lines: int) -> None:
    """Show the last lines of every log, or of PROGRAM's."""
    directory = Stack(say=click.echo).supervisor.logs
    files = sorted(directory.glob(f"{program or '*'}.log"))
    if not files:
        existing = ", ".join(sorted(path.stem for path in directory.glob("*.log"))) or "none yet"
        raise StackError(f"there is no log of {program or 'any program'}; logs: {existing}")
    tail = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
    os.execvp(tail[0], tail)


def _line(program: ProgramStatus) -> str:
    address_and_log = f"{program.address} {program.log}".strip()
    return (
        f"{program.name:<18} {program.state:<14} {program.pid or '-':>7} "
        f"{program.memory_bytes / 1e6:>6.0f}  {address_and_log}"
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run_command(command: click.Command) -> None:
    """Run a command; a PipelineError becomes one line on stderr and the error's exit code."""
    # A shell's background jobs ignore SIGINT: handle it explicitly. SIGTERM and a closed terminal
    # (SIGHUP) clean up the same way.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        command(standalone_mode=False)
    except PipelineError as error:
        click.echo(f"native stack: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (OSError, UnicodeError) as error:
        click.echo(f"native stack: {one_line(error)}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run it again to continue", err=True)
        sys.exit(130)


def main() -> None:
    """Run `python -m infra.native_stack`."""
    run_command(cli)


if __name__ == "__main__":
    main()
