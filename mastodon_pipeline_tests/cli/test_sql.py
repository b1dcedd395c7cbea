"""`mastodon-pipeline sql`: every table by name, answers in three shapes, faults in one line."""

import csv
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.cli.sql import answer, converse, reason
from mastodon_pipeline.lake.connection import LAKE_CONFIG, prepare_lake
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_daily,
    build_toots,
    build_toots_per_server,
)
from mastodon_pipeline.usage.tables.coverage import build_server_coverage
from mastodon_pipeline.usage.views import create_views, table_folders
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record

ARTICLE = [
    *("m_id", "created_at", "created_at_str", "app", "url", "base_url", "language"),
    *("favourites", "username", "bot", "tags", "characters", "words", "mastodon_text"),
    *("created_tz", "from_instance", "language_name"),
]


@pytest.fixture
def connection(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake with two days of toots and the tables of the second, by their names."""
    posted = HOUR + timedelta(seconds=7.6)
    land(
        lake,
        record(
            status_id="42",
            app="Tusky",
            created_at=posted,
            language="",
            url="https://one.example/@ada/42",
        ),
        record(uri="b", status_id="01HX", server="two.example", language="zh-CN"),
        record(uri="c", status_id="3", created_at=HOUR - timedelta(days=1)),
    )
    for hour in (HOUR, HOUR - timedelta(days=1)):
        build_toots(lake, hour)
        build_toots_per_server(lake, hour)
    for table in DAILY_TABLES:
        build_daily(lake, DAY, table)
    build_server_coverage(lake, DAY, DAY, list)
    with duckdb.connect(":memory:") as own:
        own.execute("SET TimeZone = 'UTC'")
        create_views(
            own,
            table_folders(lake.layout),
            lambda folder: next((file.path for file in lake.list_files(folder)), None),
        )
        yield own


def test_every_table_is_a_view_by_its_name(connection: duckdb.DuckDBPyConnection) -> None:
    """And the article's besides."""
    names = [name for (name,) in connection.sql("SHOW TABLES").fetchall()]
    tables = ["toots", "toots_per_server_per_hour", *DAILY_TABLES, "server_coverage"]
    assert names == sorted([*tables, "language", "mastodon_toot"])
    for name in names:
        assert connection.table(name).count("*").fetchone()


def test_a_query_that_names_a_day_reads_that_days_files_alone(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """The history costs nothing."""
    plan = connection.sql(f"EXPLAIN ANALYZE SELECT count(*) FROM toots WHERE day = '{DAY}'")
    assert "Scanning Files: 1/2" in plan.fetchall()[0][1]


def test_the_hourly_table_keeps_its_own_hour(connection: duckdb.DuckDBPyConnection) -> None:
    """No folder's name hides it."""
    found = connection.sql(
        "SELECT DISTINCT hour FROM toots_per_server_per_hour WHERE day = '2026-11-24'"
    )
    assert found.fetchall() == [(HOUR,)]


def test_mastodon_toot_has_the_articles_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Exactly those, with its meanings: seconds, its way to write a time, unknown languages."""
    table = connection.table("mastodon_toot")
    assert table.columns == ARTICLE
    by_language = {row[6]: dict(zip(ARTICLE, row, strict=True)) for row in table.fetchall()}
    one = by_language["unknown"]
    assert one["m_id"] == 42
    assert one["created_at"] == int(HOUR.timestamp()) + 7, "whole seconds, not rounded up"
    assert one["created_at_str"] == "2026 11 24 15:00:07"
    assert by_language["zh-CN"]["m_id"] is None, "an id that is no number"


THE_ARTICLES_QUERIES = {
    """
    select strftime(created_tz, '%Y/%m/%d %a') as "Created day"
    , count(*) as "Num toots"
    , count(distinct(username)) as "Num users"
    , count(distinct(from_instance)) as "Num urls"
    , mode(case when bot='False' then username end) as "Most freq non-bot"
    , mode(case when bot='True' then username end) as "Most freq bot"
    , mode(base_url) as "Most freq host"
    from mastodon_toot
    group by 1
    order by 1;
    """: [
        ("2026/11/23 Mon", 1, 1, 1, "ada", None, "https://one.example"),
        ("2026/11/24 Tue", 2, 1, 2, "ada", None, "https://one.example"),
    ],
    """
    select strftime(created_tz, '%Y/%m/%d %a') as created_day
    , date_part('hour', created_tz) as created_hour
    , count(*) as num
    from mastodon_toot
    group by 1,2
    order by 1,2;
    """: [("2026/11/23 Mon", 15, 1), ("2026/11/24 Tue", 15, 2)],
    """
    select m_id
    , created_at, ('EPOCH'::TIMESTAMP + INTERVAL (created_at::INT) seconds)::TIMESTAMPTZ
      as created_tz
    , app
    , url
    , regexp_replace(regexp_replace(url, '^http[s]://', ''), '/.*$', '') as from_instance
    , base_url
    , language
    , favourites
    , username
    , bot
    , tags
    , characters
    , mastodon_text
    FROM mastodon_toot where m_id = 42;
    """: [
        (
            *(42, int(HOUR.timestamp()) + 7, HOUR + timedelta(seconds=7), "Tusky"),
            *("https://one.example/@ada/42", "one.example", "https://one.example", "unknown"),
            *(0, "ada", False, 0, 5, "hello"),
        )
    ],
}
"""As they stand in its notebook and text; of the last, what it reads from is ours.

See: https://github.com/saubury/mastodon-stream/blob/main/notebooks/mastodon-analysis.ipynb
"""


@pytest.mark.parametrize("asked", THE_ARTICLES_QUERIES, ids=["days", "hours", "cleanup"])
def test_the_articles_queries_run_unchanged(
    connection: duckdb.DuckDBPyConnection, asked: str
) -> None:
    """And give what they gave there: days, hours of days, its own cleaned-up table."""
    assert connection.sql(asked).fetchall() == THE_ARTICLES_QUERIES[asked]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            """
            select *
            from mastodon_toot
            where app is not null
            and app <> ''
            and bot='False'
            ;
            """,
            {"Tusky": 1},
        ),
        ("select * from mastodon_toot;", {"English": 1}),
        ("select * from mastodon_toot where language not in ('unknown');", {"English": 1}),
    ],
)
def test_the_articles_figures_can_be_drawn_from_their_queries(
    connection: duckdb.DuckDBPyConnection, asked: str, expected: dict[str, int]
) -> None:
    """It counts apps and languages in pandas."""
    column = "app" if "app" in asked else "language_name"
    drawn = connection.sql(asked).project(column).df()[column]
    assert drawn.value_counts().to_dict() == expected


def test_a_table_is_not_listed_before_it_is_asked_for(
    connection: duckdb.DuckDBPyConnection, lake: Lake
) -> None:
    """What was built since is there; what is gone is missed by its own view alone."""
    later = HOUR + timedelta(hours=1)
    land(lake, record(uri="d", created_at=later))
    build_toots(lake, later)
    assert connection.sql("SELECT count(*) FROM toots").fetchall() == [(4,)]
    Path(lake.layout.daily("app_usage", DAY)).unlink()
    assert connection.table("language_usage").fetchall()
    with pytest.raises(duckdb.IOException, match="app_usage"):
        connection.table("app_usage").fetchall()


def test_a_lake_without_tables_has_no_views(lake: Lake) -> None:
    """Nothing is there yet; nothing fails."""
    create_views(lake.connection, table_folders(lake.layout), lambda folder: None)
    assert lake.connection.sql("SHOW TABLES").fetchall() == []


def test_answers_are_a_table_csv_or_json(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same rows; text with commas, quotes and line breaks comes back whole."""
    asked = "SELECT 'a,\"b\"\nc' AS text, DATE '2026-11-24' AS day, 1.5 AS n, NULL AS x"
    answer(connection, asked, "csv")
    assert list(csv.reader(StringIO(capsys.readouterr().out))) == [
        ["text", "day", "n", "x"],
        ['a,"b"\nc', "2026-11-24", "1.5", ""],
    ]
    answer(connection, f"{asked} FROM range(1500)", "json")
    found = json.loads(capsys.readouterr().out)
    assert len(found) == 1500
    assert found[0] == {"text": 'a,"b"\nc', "day": "2026-11-24", "n": "1.5", "x": None}
    answer(connection, "SELECT 1 AS n WHERE false", "json")
    assert json.loads(capsys.readouterr().out) == []
    answer(connection, "SELECT 1 AS first; SELECT 2 AS second")
    shown = capsys.readouterr().out
    assert "first" in shown
    assert "second" in shown


def test_a_strangers_text_does_not_steer_the_terminal(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters are shown, not obeyed."""
    answer(connection, "SELECT 'a' || chr(27) || '[31mb' AS text")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("selec 1", 'Parser Error: syntax error at or near "selec"'),
        ("SELECT nothing FROM toots", 'Binder Error: Referenced column "nothing" not found'),
        ("FROM app_usag", 'Did you mean "app_usage"?'),
    ],
)
def test_a_wrong_statement_is_one_line(
    connection: duckdb.DuckDBPyConnection, asked: str, said: str
) -> None:
    """With DuckDB's own suggestion, without the statement again."""
    with pytest.raises(duckdb.Error) as raised:
        answer(connection, asked)
    line = reason(raised.value)
    assert said in line
    assert "\n" not in line


def test_an_object_store_that_went_away_is_one_line() -> None:
    """In the middle of it all, DuckDB meets it first."""
    with duckdb.connect(":memory:", config=dict(LAKE_CONFIG)) as connection:
        settings = load_settings(
            s3_endpoint="http://127.0.0.1:9", aws_access_key_id="k", aws_secret_access_key="s"
        )
        prepare_lake(connection, settings)
        connection.execute("SET http_retries = 0")
        with pytest.raises(duckdb.Error) as raised:
            answer(connection, "FROM read_parquet('s3://mastodon/toots/*.parquet')")
    assert "does not answer as it should: see `make status`" in reason(raised.value)
    assert "\n" not in reason(raised.value)


def test_ctrl_c_ends_a_query_at_once_and_the_connection_goes_on(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when the query would have ended, in some years."""
    ctrl_c = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
    ctrl_c.start()
    with pytest.raises(KeyboardInterrupt):
        answer(connection, "SELECT count(*) FROM range(1_000_000_000_000_000) t(x) WHERE x % 7 = 8")
    answer(connection, "SELECT 7 AS n", "csv")
    assert capsys.readouterr().out == "n\n7\n"


def lines(*typed: str | type[BaseException]) -> Callable[[str], str]:
    """What a person types, line by line; then the end of input."""
    coming: Iterator[str | type[BaseException]] = iter([*typed, EOFError])

    def read_line(_prompt: str) -> str:
        line = next(coming)
        if isinstance(line, str):
            return line
        raise line

    return read_line


def test_the_prompt_reads_until_a_semicolon(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over lines; not one in a string; what is wrong is told, and it goes on."""
    typed = lines("SELECT 'one;", "two' AS", "text;", "", "selec;", "SELECT 3;")
    converse(connection, "csv", typed)
    told = capsys.readouterr()
    assert "Tables: app_usage, daily_usage" in told.out
    assert 'text\n"one;\ntwo"\n3\n3\n' in told.out
    assert told.err == 'Parser Error: syntax error at or near "selec"\n'


@pytest.mark.parametrize("leave", ["exit", "quit;", ".quit"])
def test_the_prompt_is_left_by_a_word_or_the_end_of_input(
    connection: duckdb.DuckDBPyConnection, capsys: pytest.CaptureFixture[str], leave: str
) -> None:
    """And Ctrl-C only takes back what was typed."""
    typed = lines("SELECT 1", KeyboardInterrupt, "SELECT 2;", leave, "SELECT 3;")
    converse(connection, "csv", typed)
    assert capsys.readouterr().out.splitlines()[2:] == ["", "2", "2"]


def test_an_object_store_that_is_down_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It names the address and what to do."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    outcome = CliRunner().invoke(cli, ["sql", "SELECT 1"])
    assert outcome.exit_code == 1
    assert outcome.output == (
        "mastodon-pipeline: the object store at http://127.0.0.1:9 does not answer: start it with"
        " `make up`, or set S3_ENDPOINT\n"
    )


def test_help_teaches_by_examples() -> None:
    """Each command of it stands on lines of its own."""
    shown = CliRunner().invoke(cli, ["sql", "--help"]).output
    assert '  mastodon-pipeline sql "SHOW TABLES"\n' in shown
    assert "Ctrl-D" in shown
