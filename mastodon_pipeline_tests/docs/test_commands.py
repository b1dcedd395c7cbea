"""Commands in the docs exist, with their options."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from benchmarks import __path__ as benchmarks
from infra.native_stack.__main__ import cli as stack_cli
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.definitions import defs
from mastodon_pipeline_tests.docs.pages import PAGES, REPOSITORY, commands, title

_MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
_JOB = re.compile(r"dagster job execute .*-j (\w+)")
_BENCHMARK = re.compile(r"BENCHMARKS=([a-z_]+)|-m benchmarks\.([a-z_]+)")


def _tasks() -> set[str]:
    makefile = (REPOSITORY / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def _calls(page: Path, command: str) -> Iterator[list[str]]:
    for line in commands(page):
        for call in re.split(r"&&|[|;]", line.partition(" #")[0]):
            _, program, arguments = call.partition(command)
            if program and arguments.startswith(" "):
                yield arguments.split()


def _problem(group: click.Command, arguments: list[str]) -> str | None:
    """Return what is wrong with a call; None for a call that click would accept."""
    assert isinstance(group, click.Group)
    if not arguments or arguments[0].startswith(("-", "COMMAND")):
        return None
    command = group.get_command(click.Context(group), arguments[0].rstrip(",:"))
    if command is None:
        return f"no command {arguments[0]}"
    if isinstance(command, click.Group) and arguments[1:2] and arguments[1] in command.commands:
        return _problem(command, arguments[1:])
    options = {"--help", "-h"} | {option for p in command.params for option in p.opts}
    wrong = [a for a in arguments[1:] if a.startswith("-") and a.partition("=")[0] not in options]
    return f"{arguments[0]} has no {wrong}" if wrong else None


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_make_tasks_exist(page: Path) -> None:
    named = {task for line in commands(page) for task in _MAKE.findall(line)}
    assert named <= _tasks()


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_subcommands_and_their_options_exist(page: Path) -> None:
    problems = [
        problem
        for command, group in (
            ("mastodon-pipeline", cli),
            ("-m infra.native_stack", stack_cli),
        )
        for arguments in _calls(page, command)
        if (problem := _problem(group, arguments)) is not None
    ]
    assert not problems


def test_jobs_that_are_executed_exist() -> None:
    jobs = {job.name for job in defs.get_repository_def().get_all_jobs()}
    named = {job for page in PAGES for line in commands(page) for job in _JOB.findall(line)}
    assert named
    assert named <= jobs


def test_benchmarks_that_are_named_exist() -> None:
    folder = Path(next(iter(benchmarks)))
    for page in PAGES:
        for line in commands(page):
            for names in _BENCHMARK.findall(line):
                assert (folder / f"{''.join(names)}.py").exists(), f"{title(page)}: {line}"


def test_every_subcommand_is_in_the_readme() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert isinstance(cli, click.Group)
    for name in cli.list_commands(click.Context(cli)):
        assert re.search(rf"`(mastodon-pipeline )?{name}\b", readme), name


def test_every_make_task_is_documented() -> None:
    named = {task for page in PAGES for line in commands(page) for task in _MAKE.findall(line)}
    assert _tasks() <= named, f"undocumented: {sorted(_tasks() - named)}"
