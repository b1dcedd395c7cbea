"""The prompt of `mastodon-pipeline sql`: one statement after the other, until a person leaves."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress

import click
import duckdb
from duckdb import DuckDBPyConnection

from mastodon_pipeline.cli.query_printing import Output, print_results, reason


def prompt(
    connection: DuckDBPyConnection,
    output: Output = "table",
    read_line: Callable[[str], str] = input,
) -> None:
    """Read and run statements until the end of input; an error is one line, and the prompt stays.

    A statement ends with a semicolon, as SQL reads it: not with one in a string or a comment.
    """
    with suppress(ImportError):  # lines can be edited if Python has readline
        import readline  # noqa: F401
    click.echo(f"{_tables(connection)}\nA statement ends with ; and Ctrl-D leaves.")
    lines: list[str] = []
    while True:
        try:
            lines.append(read_line("    ...> " if lines else "mastodon> "))
            text = "\n".join(lines)
            if text.strip().lower().removesuffix(";") in ("", "exit", "quit", ".exit", ".quit"):
                if text.strip():
                    return
                lines = []
            elif sqlite3.complete_statement(text):
                lines = []
                print_results(connection, text, output)
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            lines = []
            click.echo()
        except duckdb.Error as error:
            lines = []
            click.echo(reason(error), err=True)


def _tables(connection: DuckDBPyConnection) -> str:
    names = [name for (name,) in connection.sql("SHOW TABLES").fetchall()]
    if names:
        return f"Tables: {', '.join(names)}."
    return "No tables yet: materialise `toots` in Dagster, or wait until its sensor has."
