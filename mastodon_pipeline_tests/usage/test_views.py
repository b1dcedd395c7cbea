"""The views over the lake's tables: one a table, and `mastodon_toot` with the article's columns."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.coverage import build_server_coverage
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline.usage.views import create_views, table_folders
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record
from mastodon_pipeline_tests.support.memory_database import memory_database
from mastodon_pipeline_tests.support.prepared_lake import PreparedLake

ARTICLE = [
    *("m_id", "created_at", "created_at_str", "app", "url", "base_url", "language"),
    *("favourites", "username", "bot", "tags", "characters", "words", "mastodon_text"),
    *("created_tz", "from_instance", "language_name"),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedLake:
    return PreparedLake(tmp_path_factory.mktemp("built"), build)


@pytest.fixture
def built(prepared: PreparedLake) -> Iterator[Lake]:
    """Two days of toots and the tables of the second."""
    with prepared.copy() as lake:
        yield lake


def build(lake: Lake) -> None:
    """Land the toots, and build the tables."""
    posted = HOUR + timedelta(seconds=7.6)
    land(
        lake,
        record(
            status_id="42",
            app="Tusky",
            created_at=posted,
            language="",
            language_primary="",
            url="https://one.example/@ada/42",
        ),
        record(
            uri="b",
            status_id="01HX",
            server="two.example",
            language="zh-CN",
            language_primary="zh",
        ),
        record(uri="c", status_id="3", created_at=HOUR - timedelta(days=1)),
    )
    build_hours(lake, HOUR, HOUR - timedelta(days=1))
    build_day(lake, DAY)
    build_server_coverage(lake, DAY, DAY, list)


@pytest.fixture
def connection(built: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """Views over the lake."""
    with memory_database() as connection:
        create_views(
            connection,
            table_folders(built.layout),
            lambda folder: next((file.path for file in built.list_files(folder)), None),
        )
        yield connection


def test_every_table_is_a_view_of_its_name(connection: duckdb.DuckDBPyConnection) -> None:
    """And so is the article's table, `mastodon_toot`."""
    names = [name for (name,) in connection.sql("SHOW TABLES").fetchall()]
    tables = [table.name for table in TABLES]
    assert names == sorted([*tables, "language", "mastodon_toot"])
    for name in names:
        assert connection.table(name).count("*").fetchone()


def test_query_that_names_a_day_reads_only_that_days_files(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """So its cost does not grow with the history."""
    plan = connection.sql(f"EXPLAIN ANALYZE SELECT count(*) FROM toots WHERE day = '{DAY}'")
    assert "Scanning Files: 1/2" in plan.fetchall()[0][1]


def test_hourly_view_shows_the_tables_own_hour_column(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """No folder name hides it."""
    hours = connection.sql(
        "SELECT DISTINCT hour FROM toots_per_server_per_hour WHERE day = '2026-11-24'"
    )
    assert hours.fetchall() == [(HOUR,)]


def test_mastodon_toot_has_the_articles_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Exactly those, with their meanings: seconds, how it writes a time, unknown languages."""
    table = connection.table("mastodon_toot")
    assert table.columns == ARTICLE
    by_language = {row[6]: dict(zip(ARTICLE, row, strict=True)) for row in table.fetchall()}
    toot = by_language["unknown"]
    assert toot["m_id"] == 42
    assert toot["created_at"] == int(HOUR.timestamp()) + 7, "whole seconds, not rounded up"
    assert toot["created_at_str"] == "2026 11 24 15:00:07"
    assert by_language["zh-CN"]["m_id"] is None, "an id that is not a number"


def test_language_of_a_region_is_named_by_its_language(lake: Lake) -> None:
    """`language` stays as the server sent it; a code without a name stands for itself."""
    languages = {"pt-BR": "pt", "zh-CN": "zh", "en-GB": "en", "en": "en", "ldn": "ldn", "": ""}
    land(
        lake,
        *(
            record(uri=tag, status_id=tag, language=tag, language_primary=code)
            for tag, code in languages.items()
        ),
    )
    build_hours(lake, HOUR)
    with duckdb.connect(":memory:") as connection:
        create_views(
            connection,
            table_folders(lake.layout),
            lambda folder: next((file.path for file in lake.list_files(folder)), None),
        )
        named = connection.sql("SELECT language, language_name FROM mastodon_toot").fetchall()
    assert dict(named) == {
        "pt-BR": "Portuguese",
        "zh-CN": "Chinese",
        "en-GB": "English",
        "en": "English",
        "ldn": "ldn",
        "unknown": None,
    }


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
"""As they are in its notebook and text; only the table that the last one reads is ours.

See: https://github.com/saubury/mastodon-stream/blob/main/notebooks/mastodon-analysis.ipynb
"""


@pytest.mark.parametrize("statement", THE_ARTICLES_QUERIES, ids=["days", "hours", "cleanup"])
def test_the_articles_queries_run_unchanged(
    connection: duckdb.DuckDBPyConnection, statement: str
) -> None:
    """And return what they return there: days, hours of days, its own cleaned-up table."""
    assert connection.sql(statement).fetchall() == THE_ARTICLES_QUERIES[statement]


@pytest.mark.parametrize(
    ("statement", "expected"),
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
        ("select * from mastodon_toot;", {"English": 1, "Chinese": 1}),
        (
            "select * from mastodon_toot where language not in ('unknown');",
            {"English": 1, "Chinese": 1},
        ),
    ],
)
def test_the_articles_figures_can_be_drawn_from_their_queries(
    connection: duckdb.DuckDBPyConnection, statement: str, expected: dict[str, int]
) -> None:
    """It counts apps and languages in pandas."""
    column = "app" if "app" in statement else "language_name"
    values = connection.sql(statement).project(column).df()[column]
    assert values.value_counts().to_dict() == expected


def test_view_lists_its_files_when_it_is_queried(
    connection: duckdb.DuckDBPyConnection, built: Lake
) -> None:
    """A file built since is read; a file that is gone breaks only the view of its table."""
    later = HOUR + timedelta(hours=1)
    land(built, record(uri="d", created_at=later))
    build_toots(built, later)
    assert connection.sql("SELECT count(*) FROM toots").fetchall() == [(4,)]
    Path(built.layout.daily("app_usage", DAY)).unlink()
    assert connection.table("language_usage").fetchall()
    with pytest.raises(duckdb.IOException, match="app_usage"):
        connection.table("app_usage").fetchall()


def test_empty_lake_has_no_views(lake: Lake) -> None:
    create_views(lake.connection, table_folders(lake.layout), lambda folder: None)
    assert lake.connection.sql("SHOW TABLES").fetchall() == []
