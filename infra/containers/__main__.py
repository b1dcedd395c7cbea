"""The image's entry point: `python -m infra.containers ROLE`."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from infra.containers.roles import HOSTS, PORTS, ROLES, Role, installation
from infra.native_stack.__main__ import run_command
from infra.native_stack.addresses import write_private
from infra.native_stack.cache import locked
from infra.native_stack.errors import StackError
from infra.native_stack.programs import Installation, probes
from infra.native_stack.supervision import base_environment
from mastodon_pipeline.paths import data_directory

AWAIT_SECONDS = 120.0
_ANY_ARGUMENTS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Run a part of the pipeline in this container, until it ends.

    What follows the name of a role is appended to the command line of its program.
    """


def await_programs(names: Sequence[str], stack: Installation) -> None:
    """Return once these programs answer, or after two minutes all the same."""
    answers = probes(PORTS, stack.variables, HOSTS)
    deadline = time.monotonic() + AWAIT_SECONDS
    for name in names:
        while not answers[name]():
            if time.monotonic() > deadline:
                click.echo(f"{name} does not answer: starting without it")
                return
            time.sleep(1)


def _start(name: str, role: Role, arguments: tuple[str, ...]) -> None:
    data = data_directory()
    with locked(data / "up.lock", lambda: None, lambda: None):  # all containers write there
        stack = installation(data)
        program = role.program(stack)
    role.check(stack.variables).write()
    await_programs(role.containers_awaited(stack.variables), stack)
    if program.once_ready is not None:
        _call_beside(program.ready, program.once_ready)
    program = replace(program, command=(*program.command, *arguments))
    script = Path(tempfile.gettempdir()) / f"{name}.sh"
    write_private(script, program.script(), mode=0o700)
    os.execve("/bin/sh", ["sh", str(script)], base_environment(data))


def _call_beside(ready: Callable[[], bool], once_ready: Callable[[], None]) -> None:
    """Call `once_ready` when the program is ready, in a process beside it.

    Its parent has ended, so that it is init which waits for it, and not the program.
    """
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        try:
            while not ready():
                time.sleep(0.5)
            once_ready()
        except StackError as error:
            click.echo(error, err=True)
    os._exit(0)


def _command(name: str, role: Role) -> click.Command:
    def start(arguments: tuple[str, ...]) -> None:
        _start(name, role, arguments)

    return click.Command(
        name,
        callback=start,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings=_ANY_ARGUMENTS,
        help=f"Run {name}.",
    )


for _name, _role in ROLES.items():
    cli.add_command(_command(_name, _role))


@cli.command(context_settings=_ANY_ARGUMENTS)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(command: tuple[str, ...]) -> None:
    """Run any command with the pipeline's settings: run mastodon-pipeline doctor."""
    data = data_directory()
    with locked(data / "up.lock", lambda: None, lambda: None):
        installation(data)
    os.environ.setdefault("DAGSTER_HOME", str(data / "dagster"))
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        raise click.ClickException(f"there is no command {command[0]}") from None


@cli.command()
@click.option("--servers", default=3, show_default=True, help="How many are simulated.")
def compare(servers: int) -> None:
    """Wait until all that the simulator published is counted; compare hour by hour."""
    from infra.demo import compare as compare_counts
    from infra.native_stack.progress import Progress
    from infra.simulated_fediverse import SimulatedFediverse

    fediverse = SimulatedFediverse(servers, 0, 0, 0, 9101, 9100, host="simulator")
    sys.exit(0 if compare_counts(fediverse, Progress(click.echo)) else 1)


def main() -> None:
    """Run a role; a PipelineError becomes one line on stderr and the error's exit code."""
    run_command(cli)


if __name__ == "__main__":
    main()
