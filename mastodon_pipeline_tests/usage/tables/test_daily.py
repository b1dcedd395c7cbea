"""The daily tables beside `daily_usage`: what each counts, and what becomes of the unknown."""

from datetime import timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables import columns
from mastodon_pipeline.usage.tables.building import DAILY_TABLES, build_daily, build_toots
from mastodon_pipeline.usage.tables.languages import language_names
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    in_order,
    land,
    record,
    rows,
)


def toots(*each: Record) -> list[Record]:
    """Toots of their own that differ from the default in these fields."""
    return [record(uri=f"u{n}", status_id=str(n), **fields) for n, fields in enumerate(each)]


def day_of(lake: Lake, table: str, *landed: Record, **values: object) -> list[Record]:
    """A table's day, without the day itself, built from these records."""
    land(lake, *landed)
    for hour in {one["created_at"].replace(minute=0, second=0) for one in landed}:
        build_toots(lake, hour)
    built = rows(lake, build_daily(lake, DAY, table, **values).path)
    assert all(row.pop("day") == DAY for row in built)
    return built


def test_apps_are_counted_and_the_untold_is_a_row_of_its_own(lake: Lake) -> None:
    """The most used first; an app that calls itself unknown is another than none."""
    posted = toots(
        {"app": "Tusky"},
        {"app": "Tusky", "server": "two.example"},
        {"app": "Tusky"},
        {"app": "unknown"},
        {},
        {},
    )
    assert day_of(lake, "app_usage", *posted) == [
        {"app": "Tusky", "toots": 3, "users": 2},
        {"app": "", "toots": 2, "users": 1},
        {"app": "unknown", "toots": 1, "users": 1},
    ]


def test_every_hour_of_the_day_has_its_row(lake: Lake) -> None:
    """By the time of posting, UTC, the first and the last hour included."""
    midnight = HOUR.replace(hour=0)
    last = midnight + timedelta(hours=23, minutes=59)
    posted = toots({}, {}, {"created_at": midnight}, {"created_at": last})
    found = day_of(lake, "hour_of_day_usage", *posted)
    assert [row["hour_of_day"] for row in found] == list(range(24))
    assert {row["hour_of_day"]: row["toots"] for row in found if row["toots"]} == {
        0: 1,
        15: 2,
        23: 1,
    }
    assert found[15]["users"] == 1


def test_languages_have_english_names_and_the_unknown_keeps_its_row(lake: Lake) -> None:
    """A code without a name is named by itself: nothing falls out of the sum."""
    posted = toots(
        *[{"language_primary": "de"}] * 3,
        *[{"language_primary": ""}] * 2,
        {"language_primary": "tok", "username": "ben"},
        {"language_primary": "zz9"},
    )
    assert day_of(lake, "language_usage", *posted) == [
        {"language_primary": "de", "language_name": "German", "toots": 3, "users": 1},
        {"language_primary": "", "language_name": "unknown", "toots": 2, "users": 1},
        {"language_primary": "tok", "language_name": "Toki Pona", "toots": 1, "users": 1},
        {"language_primary": "zz9", "language_name": "zz9", "toots": 1, "users": 1},
    ]


def test_the_names_are_those_of_primary_subtags() -> None:
    """Small languages too; regional variants are not among them."""
    names = language_names()
    assert (names["kab"], names["zh"], names["nb"]) == ("Kabyle", "Chinese", "Norwegian Bokmål")
    assert not [code for code in names if not code.isalpha()]


def test_the_quartiles_of_a_language_are_those_of_its_lengths(lake: Lake) -> None:
    """Interpolated; deleted toots count with the length that they had."""
    posted = toots(
        *({"characters": characters, "language_primary": "de"} for characters in (0, 10, 20, 41)),
        {"characters": 500, "language_primary": "en"},
    )
    found = day_of(lake, "language_density", *in_order(*posted, delete(uri="u3", status_id="3")))
    assert found == [
        {
            "language_primary": "de",
            "language_name": "German",
            "min": 0,
            "q1": 7.5,
            "median": 15.0,
            "q3": 25.25,
            "max": 41,
            "toots": 4,
        },
        {
            "language_primary": "en",
            "language_name": "English",
            "min": 500,
            "q1": 500.0,
            "median": 500.0,
            "q3": 500.0,
            "max": 500,
            "toots": 1,
        },
    ]


@pytest.mark.parametrize(
    ("text", "term", "mentions"),
    [
        ("Kafka, kafka and KAFKA", "kafka", 3),
        ("kafka kafka kafka", "Kafka", 3),
        ("#kafka, https://kafka.apache.org/kafka", "kafka", 3),
        ("kafkaesque, myKafka, kafka_2, kafka2", "kafka", 0),
        ("Größe und Übergröße. größe", "größe", 2),
        ("кафка Кафка кафкаэск", "кафка", 2),
        ("new york, New York; new  york", "new york", 2),
        ("C++ c++, c+", "c++", 2),
        ("a.b axb", "a.b", 1),
        ("", "kafka", 0),
    ],
)
def test_a_term_is_a_whole_word_in_any_case(
    lake: Lake, text: str, term: str, mentions: int
) -> None:
    """In any script, side by side, with characters that mean something to search engines."""
    found = day_of(lake, "term_mentions", *toots({"mastodon_text": text}), terms=[term])
    assert found == [
        {"term": term.lower(), "toots": int(mentions > 0), "mentions": mentions},
    ]


def test_each_term_has_its_row_once_and_deleted_text_mentions_nothing(lake: Lake) -> None:
    """Also terms that nobody mentioned; the text of a deleted toot is gone."""
    posted = toots(*[{"mastodon_text": "duckdb reads what kafka wrote"}] * 2)
    found = day_of(
        lake,
        "term_mentions",
        *in_order(*posted, delete(uri="u1", status_id="1")),
        terms=["kafka", "DuckDB", "duckdb", "seaborn"],
    )
    assert found == [
        {"term": "duckdb", "toots": 1, "mentions": 1},
        {"term": "kafka", "toots": 1, "mentions": 1},
        {"term": "seaborn", "toots": 0, "mentions": 0},
    ]


def test_the_terms_are_a_setting(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """`TERMS`, by commas."""
    monkeypatch.setenv("TERMS", "open source, Python")
    found = day_of(lake, "term_mentions", record(mastodon_text="Open Source in python"))
    assert [(row["term"], row["mentions"]) for row in found] == [("open source", 1), ("python", 1)]


def test_without_terms_the_table_is_empty(lake: Lake) -> None:
    """A comma alone sets none."""
    assert day_of(lake, "term_mentions", record(), terms=[]) == []


@pytest.mark.parametrize("table", DAILY_TABLES)
def test_a_table_has_the_columns_that_the_ui_describes(lake: Lake, table: str) -> None:
    """Names, types and order."""
    land(lake, record())
    build_toots(lake, HOUR)
    file = lake.connection.read_parquet(build_daily(lake, DAY, table).path, hive_partitioning=False)
    described = getattr(columns, table.upper()).columns
    assert file.columns == [column.name for column in described]
    assert [str(kind) for kind in file.types] == [column.type for column in described]


@pytest.mark.parametrize("table", DAILY_TABLES)
def test_only_the_days_own_toots_are_read(lake: Lake, table: str) -> None:
    """Those of the neighbouring days are other folders."""
    for days in (-1, 0, 1):
        hour = HOUR + timedelta(days=days)
        land(lake, record(uri=str(days), status_id=str(days), created_at=hour))
        build_toots(lake, hour)
    assert build_daily(lake, DAY, table).input_files == 1
    (counted,) = lake.connection.read_parquet(lake.layout.daily(table, DAY)).sum("toots").fetchall()
    assert counted[0] == (0 if table == "term_mentions" else 1)
