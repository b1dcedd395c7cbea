"""The usage stage's command: questions to the lake, in SQL."""

import csv
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Literal

import click

from mastodon_pipeline.settings import load_settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


Shape = Literal["table", "csv", "json"]
ROWS_AT_ONCE = 1000
ROWS_OF_A_TABLE = 100


@click.command(
    epilog="Addresses and keys come from the settings: S3_ENDPOINT, S3_BUCKET, AWS_ACCESS_KEY_ID, "
    "AWS_SECRET_ACCESS_KEY. The views only read, and lock nobody out; COPY ... TO 's3://...' "
    "writes what the keys may write, so give readers keys that only read. For notebooks: "
    "connect_views() in mastodon_pipeline.usage.views."
)
@click.argument("statement", required=False)
@click.option("--csv", "shape", flag_value="csv", help="Print as CSV, all rows.")
@click.option("--json", "shape", flag_value="json", help="Print as a JSON array, all rows.")
def sql(statement: str | None, shape: Shape | None) -> None:
    """Ask the lake in SQL: DuckDB, with a view for every table.

    Without STATEMENT it asks for one after the other (each ends with a semicolon, Ctrl-D leaves),
    or reads them from standard input.

    \b
    What is there, and what is in it:
      mastodon-pipeline sql "SHOW TABLES"
      mastodon-pipeline sql "DESCRIBE toots_per_server_per_hour"
    \b
    The busiest servers of a day; naming the day reads that day's files alone:
      mastodon-pipeline sql "SELECT server, sum(toots) AS toots FROM toots_per_server_per_hour
        WHERE day = current_date GROUP BY server ORDER BY toots DESC LIMIT 10"
    \b
    The apps of all days, as CSV:
      mastodon-pipeline sql --csv "SELECT app, sum(toots) AS toots FROM app_usage
        GROUP BY app ORDER BY toots DESC" > apps.csv
    \b
    As the article asked, by its own columns:
      mastodon-pipeline sql "SELECT language, count(*), avg(characters) FROM mastodon_toot
        WHERE NOT bot GROUP BY language ORDER BY 2 DESC LIMIT 10"
    """
    # Not at the module's head: every other command would wait for DuckDB and Dagster.
    import duckdb

    from mastodon_pipeline.errors import PipelineError
    from mastodon_pipeline.usage.views import open_views

    form = shape or "table"
    settings = load_settings()
    try:
        with open_views(settings) as connection:
            if statement is None and sys.stdin.isatty():
                converse(connection, form)
                return
            asked = sys.stdin.read() if statement is None else statement
            if sys.stderr.isatty() and form == "table":
                connection.execute("SET enable_progress_bar = true")
            answer(connection, asked, form)
    except PipelineError as error:
        _leave(str(error))
    except duckdb.Error as error:
        _leave(reason(error))
    except KeyboardInterrupt:
        sys.exit(130)


def answer(connection: "DuckDBPyConnection", statements: str, shape: Shape = "table") -> None:
    """Runs statements one after the other, and prints what each returns.

    Ctrl-C ends a query at once. Raises duckdb.Error where a statement is wrong or cannot be run.
    """
    for statement in connection.extract_statements(statements):
        result = _interruptible(connection, partial(connection.sql, statement))
        if result is None:
            continue
        if shape == "table":
            _interruptible(connection, partial(_print_table, result))
        else:
            _interruptible(connection, result.execute)
            _PRINT[shape](result)


def _interruptible(connection: "DuckDBPyConnection", run: Callable[[], Any]) -> Any:
    # Python sees Ctrl-C between its own steps alone, and a query is one: another thread runs it.
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(run)
        try:
            return running.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def converse(
    connection: "DuckDBPyConnection",
    shape: Shape = "table",
    read_line: Callable[[str], str] = input,
) -> None:
    """Asks for statements until the end of input; a wrong one is told of in one line.

    A statement ends with a semicolon, as SQL reads it: not with one in a string or a comment.
    """
    import duckdb

    with suppress(ImportError):  # lines can be edited where Python has readline
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
                answer(connection, text, shape)
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            lines = []
            click.echo()
        except duckdb.Error as error:
            lines = []
            click.echo(reason(error), err=True)


def reason(error: Exception) -> str:
    """DuckDB's error as one line, with what it suggests."""
    import duckdb

    text = str(error)
    if isinstance(error, duckdb.HTTPException) or "Could not connect to server" in text:
        where = load_settings().s3_endpoint
        return (
            f"the object store at {where} does not answer as it should: see `make status`"
            f" ({text.splitlines()[0]})"
        )
    # The lines with the statement and the ^ below it follow an empty one.
    said = [line.strip() for line in text.split("\n\n")[0].splitlines() if line.strip()]
    return " ".join(said) or type(error).__name__


def _tables(connection: "DuckDBPyConnection") -> str:
    names = [name for (name,) in connection.sql("SHOW TABLES").fetchall()]
    if names:
        return f"Tables: {', '.join(names)}."
    return "No tables yet: materialise `toots` in Dagster, or wait until its sensor did."


def _print_table(result: "DuckDBPyRelation") -> None:
    if result.columns == ["explain_key", "explain_value"]:
        for _, plan in result.fetchall():
            click.echo(plan)
        return
    # DuckDB's own box; it shows control characters, which strangers' texts may hold, as escapes.
    result.show(max_width=get_terminal_size((160, 40)).columns, max_rows=ROWS_OF_A_TABLE)


def _print_csv(result: "DuckDBPyRelation") -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    for row in _rows(result):
        writer.writerow(row)


def _print_json(result: "DuckDBPyRelation") -> None:
    import msgspec

    names = result.columns
    lines = (
        msgspec.json.encode(dict(zip(names, row, strict=True)), enc_hook=str).decode()
        for row in _rows(result)
    )
    click.echo("[" + next(lines, ""), nl=False)
    for line in lines:
        click.echo(f",\n {line}", nl=False)
    click.echo("]")


_PRINT: dict[Shape, Callable[["DuckDBPyRelation"], None]] = {
    "csv": _print_csv,
    "json": _print_json,
}


def _rows(result: "DuckDBPyRelation") -> Iterator[tuple[Any, ...]]:
    while rows := result.fetchmany(ROWS_AT_ONCE):
        yield from rows


def _leave(message: str) -> None:
    click.echo(f"mastodon-pipeline: {message}", err=True)
    sys.exit(1)
