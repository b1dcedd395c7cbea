"""The prompt of `mastodon-pipeline sql`."""

from collections.abc import Callable, Iterator

import duckdb
import pytest

from mastodon_pipeline.cli.sql_prompt import prompt


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with two tables."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE toots (n INT); CREATE TABLE app_usage (n INT)")
        yield connection


def typing(*lines: str | type[BaseException]) -> Callable[[str], str]:
    """Return an `input` that gets these lines typed, then the end of input."""
    remaining: Iterator[str | type[BaseException]] = iter([*lines, EOFError])

    def read_line(_prompt: str) -> str:
        line = next(remaining)
        if isinstance(line, str):
            return line
        raise line

    return read_line


def test_prompt_runs_a_statement_once_its_semicolon_is_typed(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may span lines, and a semicolon in a string does not end it; an error ends nothing."""
    typed = typing("SELECT 'one;", "two' AS", "text;", "", "selec;", "SELECT 3;")
    prompt(connection, "csv", typed)
    printed = capsys.readouterr()
    assert "Tables: app_usage, toots." in printed.out
    assert 'text\n"one;\ntwo"\n3\n3\n' in printed.out
    assert printed.err == 'Parser Error: syntax error at or near "selec"\n'


def test_prompt_without_tables_says_what_makes_them(capsys: pytest.CaptureFixture[str]) -> None:
    with duckdb.connect(":memory:") as connection:
        prompt(connection, "table", typing())
    assert "No tables yet: materialise `toots`" in capsys.readouterr().out


@pytest.mark.parametrize("leave", ["exit", "quit;", ".quit"])
def test_prompt_ends_by_a_word_and_ctrl_c_clears_the_line(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str], leave: str
) -> None:
    """Nothing after the word is run, and nothing that was typed before Ctrl-C."""
    typed = typing("SELECT 1", KeyboardInterrupt, "SELECT 2;", leave, "SELECT 3;")
    prompt(connection, "csv", typed)
    assert capsys.readouterr().out.splitlines()[2:] == ["", "2", "2"]
