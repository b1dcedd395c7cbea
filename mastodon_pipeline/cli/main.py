"""The `mastodon-pipeline` command: which subcommands it has, and how each of them fails.

A subcommand's module is imported when the subcommand is invoked, and imports what it works with
inside its function: Dagster alone takes a second of CPU, which nobody waits for to read a help
text. `benchmarks/commands.py` measures it.
"""

import errno
from importlib import import_module
from typing import Any, NamedTuple

import click

from mastodon_pipeline.errors import PipelineError, one_line


class Command(NamedTuple):
    """Where a subcommand is, and what its help begins with."""

    target: str
    """module:attribute"""
    help: str
    """The first line of the subcommand's own help, known without importing it."""


COMMANDS = {
    "alerts": Command(
        "mastodon_pipeline.cli.alerts:alerts",
        "Send a test message to each URL of ALERT_URLS.",
    ),
    "backfill": Command(
        "mastodon_pipeline.cli.backfill:backfill",
        "Read what SERVER published in a period of the past.",
    ),
    "consume": Command(
        "mastodon_pipeline.cli.consume:consume",
        "Print the records of the topic as JSON, one a line.",
    ),
    "dashboard": Command(
        "mastodon_pipeline.cli.dashboard:dashboard",
        "Serve a page with what is counted, for browsers on this machine.",
    ),
    "doctor": Command(
        "mastodon_pipeline.cli.doctor:doctor",
        "Report what is missing or unhealthy, and how to fix it.",
    ),
    "forget": Command(
        "mastodon_pipeline.cli.forget:forget",
        "Take a person or a server out of the lake.",
    ),
    "ledger": Command(
        "mastodon_pipeline.cli.ledger:ledger",
        "Show what is missing, or accept that it is lost.",
    ),
    "listen": Command(
        "mastodon_pipeline.cli.listen:listen",
        "Follow one server and print its toots.",
    ),
    "login": Command(
        "mastodon_pipeline.cli.login:login",
        "Get a token for SERVER, so that its stream can be followed.",
    ),
    "maintain": Command(
        "mastodon_pipeline.cli.maintain:maintain",
        "Remove from the lake what is verified and no longer needed.",
    ),
    "metrics": Command(
        "mastodon_pipeline.cli.metrics:metrics",
        "Serve numbers of listeners, sink, ledger, checks and tables to Prometheus.",
    ),
    "replay": Command(
        "mastodon_pipeline.cli.replay:replay",
        "Send Parquet files, or dead letters, to the topic again.",
    ),
    "servers": Command(
        "mastodon_pipeline.cli.servers:servers",
        "Show how each server will be followed, and why.",
    ),
    "sql": Command(
        "mastodon_pipeline.cli.sql:sql",
        "Query the lake in SQL: DuckDB, with a view for every table.",
    ),
    "to-postgres": Command(
        "mastodon_pipeline.cli.to_postgres:to_postgres",
        "Copy Dagster's history and the Iceberg catalog from SQLite files into PostgreSQL.",
    ),
    "top": Command(
        "mastodon_pipeline.cli.top:top",
        "Show toots a minute, languages and rising hashtags, live from Kafka.",
    ),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is invoked, and turns its errors into one line.

    What else a command may end with is click's business: a wrong option is exit code 2, and a
    reader that went away (`| head`) ends it without a word.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            if any("\ud800" <= character <= "\udfff" for character in argument):
                raise click.UsageError(f"the argument {argument!r} is not text in UTF-8")
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            click.echo(f"mastodon-pipeline: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)  # 128 + SIGINT, as a shell has it
        except (OSError, UnicodeError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            click.echo(f"mastodon-pipeline: {one_line(error)}", err=True)
            ctx.exit(1)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="mastodon-pipeline")
def cli() -> None:
    """Measure what happens on the Fediverse: toots, servers, apps, languages.

    Most commands need the native stack (`make up`); `listen`, `login` and `servers` do not.
    Settings are environment variables, or lines of the file .env.

    \b
    Begin with:
      mastodon-pipeline listen --base-url https://mastodon.social
      mastodon-pipeline doctor

    Exit codes: 0 done; 1 something failed; 2 an option or a setting is wrong; 130 Ctrl-C.
    """


def main() -> None:
    """Run the command that the arguments name, and exit."""
    cli()
