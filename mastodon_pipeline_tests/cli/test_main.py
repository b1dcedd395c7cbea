"""The `mastodon-pipeline` command itself: its list of subcommands, and how they end."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.main import COMMANDS, cli
from mastodon_pipeline.errors import Interrupted, KafkaUnavailable, SettingsError

SLOW_TO_IMPORT = {
    *(
        "aiohttp",
        "apprise",
        "boto3",
        "confluent_kafka",
        "dagster",
        "duckdb",
        "fastavro",
        "mastodon",
    ),
    *("matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "pyiceberg", "requests"),
}


def modules_imported_by(statements: str) -> set[str]:
    """Return the modules that a new interpreter has imported after these statements."""
    script = f"import json, sys\n{statements}\nprint(json.dumps(sorted(sys.modules)))"
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(process.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_shows_the_first_line_of_each_help(name: str) -> None:
    """The list is printed from a table, so that no command is imported for it."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name].help
    assert command.name == name
    printed = CliRunner().invoke(cli, ["--help"]).stdout
    assert COMMANDS[name].help in " ".join(printed.split()), "however its lines are broken"


def test_help_imports_nothing_slow() -> None:
    """Neither the list of commands nor the help of any of them."""
    imported = modules_imported_by(
        "from mastodon_pipeline.cli.main import COMMANDS, cli\n"
        "for command in ([], *([name] for name in COMMANDS)):\n"
        "    cli.main([*command, '--help'], standalone_mode=False)"
    )
    assert "mastodon_pipeline.cli.replay" in imported
    assert imported & SLOW_TO_IMPORT == set()


@pytest.mark.thorough
def test_sql_imports_nothing_slow_but_duckdb_and_the_settings() -> None:
    """Dagster, Kafka's client, boto3 and HTTP clients cost more CPU each than the query."""
    imported = modules_imported_by(
        "import mastodon_pipeline.cli.sql_prompt, mastodon_pipeline.usage.views"
    )
    assert imported & SLOW_TO_IMPORT == {"duckdb", "pydantic"}


@pytest.mark.parametrize(
    ("error", "exit_code", "stderr"),
    [
        (SettingsError("SINK is wrong"), 2, "mastodon-pipeline: SINK is wrong\n"),
        (KafkaUnavailable("start it"), 1, "mastodon-pipeline: start it\n"),
        (Interrupted("the next run goes on"), 130, "mastodon-pipeline: the next run goes on\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_a_failed_command_prints_one_line_and_exits_by_the_kind_of_error(
    error: BaseException, exit_code: int, stderr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person can fix is a line on stderr; what needs no explanation is none."""

    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(cli, "get_command", lambda _context, _name: failing)
    result = CliRunner().invoke(cli, ["failing"])
    assert (result.exit_code, result.stdout, result.stderr) == (exit_code, "", stderr)
    assert isinstance(result.exception, SystemExit), "no traceback"


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["listne"])
    assert result.exit_code == 2
    assert "No such command 'listne'" in result.stderr
