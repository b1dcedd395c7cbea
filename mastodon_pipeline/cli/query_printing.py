"""Running SQL statements and printing what they return: as a table, CSV or JSON.

Not by DuckDB's `COPY (...) TO '/dev/stdout'`: it opens the file behind standard output again and
truncates it, so that `>> file` loses what the file holds and the second statement overwrites the
first; it cannot write to a socket; and `| head` is an IOException like any other (DuckDB 1.5.5).
"""

import csv
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from shutil import get_terminal_size
from typing import Any, Literal

import click
import duckdb
from duckdb import DuckDBPyConnection, DuckDBPyRelation

from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.tables.catalog import TABLES

Output = Literal["table", "csv", "json"]
ATTEMPTS = 3
"""How often a query is begun whose file is replaced while it is read."""
_MIXED_FILE = re.compile(
    r"ETag|parquet file|thrift|TProtocol|decompress|magic bytes", re.IGNORECASE
)
_LIVE_FAILED = re.compile(r"executing the UDF: \w+: (.*?)(?:\n\nAt:|\Z)", re.DOTALL)
"""An error of ours within a query: Kafka does not answer, say."""
_NO_TABLE = re.compile(r"Table with name (\w+) does not exist")
_TABLES = frozenset({"mastodon_toot", *(table.name for table in TABLES)})
"""Views of them exist once there is a file."""
ROWS_AT_ONCE = 1000
ROWS_OF_A_TABLE = 100


def print_results(
    connection: DuckDBPyConnection, statements: str, output: Output = "table"
) -> None:
    """Run statements one after the other, and print what each returns.

    Ctrl-C ends a query at once. Raises duckdb.Error if a statement is wrong or cannot be run.
    """
    for statement in connection.extract_statements(statements):
        if statement.type != duckdb.StatementType.SELECT:
            _print_result(connection, statement, output)
            continue
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                # Nothing is printed before all of it has been read, so it may be read again.
                _print_result(connection, statement.query, output)
                break
            except (duckdb.Error, UnicodeDecodeError) as error:
                if not _file_was_replaced(error):
                    raise
                if attempts_left:
                    continue
                if isinstance(error, duckdb.Error) and "etag" not in str(error).lower():
                    raise  # a file that is damaged, and was not replaced
                raise duckdb.IOException(
                    "a table's file was replaced while it was read: ask again"
                ) from None


def _print_result(
    connection: DuckDBPyConnection, statement: str | duckdb.Statement, output: Output
) -> None:
    result = _interruptible(connection, partial(connection.sql, statement))
    if result is None:
        return
    if output == "table":
        _interruptible(connection, partial(_print_table, result))
    else:
        _interruptible(connection, result.execute)
        _PRINT[output](result)


def _file_was_replaced(error: duckdb.Error | UnicodeDecodeError) -> bool:
    """Return whether half of an old file and half of a new one can have caused this error.

    DuckDB quotes such bytes in its message, which Python then cannot decode.
    """
    return isinstance(error, UnicodeDecodeError) or bool(_MIXED_FILE.search(str(error)))


def reason(error: duckdb.Error) -> str:
    """Return DuckDB's error as one line, with what it suggests."""
    text = str(error)
    if failed := _LIVE_FAILED.search(text):
        return " ".join(failed[1].split())
    if isinstance(error, duckdb.HTTPException) or "Could not connect to server" in text:
        endpoint = load_settings().s3_endpoint
        return (
            f"the object store at {endpoint} does not answer as it should: see `make status`"
            f" ({text.splitlines()[0]})"
        )
    if (missing := _NO_TABLE.search(text)) and missing[1] in _TABLES:
        return (
            f"{missing[1]} has no files yet: what has landed is counted within a minute or two, and"
            " mastodon-pipeline doctor says what it waits for"
        )
    # The lines with the statement and the ^ below it follow an empty one.
    lines = [line.strip() for line in text.split("\n\n")[0].splitlines() if line.strip()]
    return " ".join(lines) or type(error).__name__


def _interruptible(connection: DuckDBPyConnection, run: Callable[[], Any]) -> Any:
    # Python handles Ctrl-C only between its own steps, and a query is one: another thread runs it.
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(run)
        try:
            return running.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _print_table(result: DuckDBPyRelation) -> None:
    if result.columns == ["explain_key", "explain_value"]:
        for _, plan in result.fetchall():
            click.echo(plan)
        return
    # DuckDB's own box; it shows control characters, which strangers' texts may hold, as escapes.
    result.show(max_width=get_terminal_size((160, 40)).columns, max_rows=ROWS_OF_A_TABLE)


def _print_csv(result: DuckDBPyRelation) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows(_rows(result))


def _print_json(result: DuckDBPyRelation) -> None:
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


_PRINT: dict[Output, Callable[[DuckDBPyRelation], None]] = {
    "csv": _print_csv,
    "json": _print_json,
}


def _rows(result: DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    while rows := result.fetchmany(ROWS_AT_ONCE):
        yield from rows
