"""What `mastodon-pipeline sql` prints: three formats, errors in one line, Ctrl-C at once."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import duckdb
import pytest

from mastodon_pipeline.cli.query_printing import Output, print_results, reason
from mastodon_pipeline.lake.connection import LAKE_CONFIG, prepare_lake
from mastodon_pipeline.settings import load_settings


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with a table to misspell."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE app_usage (app VARCHAR)")
        yield connection


def test_results_are_printed_as_a_table_csv_or_json(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same rows; text with commas, quotes and line breaks is read back whole."""
    statement = "SELECT 'a,\"b\"\nc' AS text, DATE '2026-11-24' AS day, 1.5 AS n, NULL AS x"
    print_results(connection, statement, "csv")
    assert list(csv.reader(StringIO(capsys.readouterr().out))) == [
        ["text", "day", "n", "x"],
        ['a,"b"\nc', "2026-11-24", "1.5", ""],
    ]
    print_results(connection, f"{statement} FROM range(1500)", "json")
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 1500
    assert rows[0] == {"text": 'a,"b"\nc', "day": "2026-11-24", "n": "1.5", "x": None}
    print_results(connection, "SELECT 1 AS n WHERE false", "json")
    assert json.loads(capsys.readouterr().out) == []
    print_results(connection, "SELECT 1 AS first; SELECT 2 AS second")
    printed = capsys.readouterr().out
    assert "first" in printed
    assert "second" in printed


@pytest.mark.thorough
def test_csv_appends_to_a_file_and_keeps_what_it_holds(tmp_path: Path) -> None:
    """Also the results of the statements before; DuckDB's own COPY to /dev/stdout truncates it."""
    file = tmp_path / "results.csv"
    file.write_text("before\n")
    script = (
        "import duckdb\n"
        "from mastodon_pipeline.cli.query_printing import print_results\n"
        "print_results(duckdb.connect(), 'SELECT 1 AS a; CREATE TABLE t (n INT); SELECT 2 AS b',"
        " 'csv')"
    )
    with file.open("a") as stdout:
        subprocess.run([sys.executable, "-c", script], stdout=stdout, check=True)
    assert file.read_text() == "before\na\n1\nb\n2\n"


def test_control_characters_in_a_table_do_not_steer_the_terminal(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Strangers' texts are shown, not obeyed."""
    print_results(connection, "SELECT 'a' || chr(27) || '[31mb' AS text")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("selec 1", 'Parser Error: syntax error at or near "selec"'),
        ("SELECT nothing FROM app_usage", 'Binder Error: Referenced column "nothing" not found'),
        ("FROM app_usag", 'Did you mean "app_usage"?'),
    ],
)
def test_a_wrong_statement_is_explained_in_one_line(
    connection: duckdb.DuckDBPyConnection, statement: str, expected: str
) -> None:
    """With DuckDB's own suggestion, without the statement again."""
    with pytest.raises(duckdb.Error) as raised:
        print_results(connection, statement)
    line = reason(raised.value)
    assert expected in line
    assert "\n" not in line


@pytest.mark.parametrize("table", ["toots", "daily_usage", "mastodon_toot"])
def test_table_that_is_not_built_yet_is_explained(
    connection: duckdb.DuckDBPyConnection, table: str
) -> None:
    """A view is there once its table has a file."""
    with pytest.raises(duckdb.Error) as raised:
        print_results(connection, f"SELECT count(*) FROM {table}")
    assert reason(raised.value).startswith(f"{table} has no files yet: ")
    assert "mastodon-pipeline doctor" in reason(raised.value)


def test_an_object_store_that_fails_during_a_query_is_explained_in_one_line() -> None:
    """Then DuckDB, not boto3, meets it first."""
    with duckdb.connect(":memory:", config=dict(LAKE_CONFIG)) as connection:
        settings = load_settings(
            s3_endpoint="http://127.0.0.1:9", aws_access_key_id="k", aws_secret_access_key="s"
        )
        prepare_lake(connection, settings)
        connection.execute("SET http_retries = 0")
        with pytest.raises(duckdb.Error) as raised:
            print_results(connection, "FROM read_parquet('s3://mastodon/toots/*.parquet')")
    assert "does not answer as it should: see `make status`" in reason(raised.value)
    assert "\n" not in reason(raised.value)


def test_ctrl_c_ends_a_query_at_once_and_leaves_the_connection_usable(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when the query would have ended, in some years."""
    ctrl_c = threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT])
    ctrl_c.start()
    endless = "SELECT count(*) FROM range(1_000_000_000_000_000) t(x) WHERE x % 7 = 8"
    with pytest.raises(KeyboardInterrupt):
        print_results(connection, endless)
    print_results(connection, "SELECT 7 AS n", "csv")
    assert capsys.readouterr().out == "n\n7\n"


@pytest.mark.parametrize("output", ["table", "csv", "json"])
@pytest.mark.parametrize("message", ["ETag on reading file has changed", "Invalid parquet file"])
def test_query_is_asked_again_if_a_file_is_replaced_while_it_is_read(
    output: Output,
    message: str,
    connection: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Twice; what it returns is printed once."""
    failures = 2

    def read(_: int) -> int:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise RuntimeError(message)
        return 4711

    connection.create_function("read", read, side_effects=True)
    print_results(connection, "SELECT read(1) AS n", output)
    assert capsys.readouterr().out.count("4711") == 1
    failures = 100
    with pytest.raises(duckdb.Error, match="ask again" if "ETag" in message else message) as error:
        print_results(connection, "SELECT read(1) AS n", output)
    assert "\n" not in reason(error.value)


def test_statement_that_writes_is_never_run_twice(connection: duckdb.DuckDBPyConnection) -> None:
    calls = 0

    def read(_: int) -> int:
        nonlocal calls
        calls += 1
        raise RuntimeError("ETag on reading file has changed")

    connection.create_function("read", read, side_effects=True)
    with pytest.raises(duckdb.Error):
        print_results(connection, "CREATE TABLE t AS SELECT read(1) AS n")
    assert calls == 1
