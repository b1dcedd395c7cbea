"""The daily tables beside `daily_usage`: what each counts, and how the unknown is counted."""

from datetime import date, timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.active_users import ACTIVE_USERS
from mastodon_pipeline.usage.tables.daily import (
    APP_USAGE,
    DAILY_TABLES,
    HOUR_OF_DAY_USAGE,
    LANGUAGE_DENSITY,
    LANGUAGE_USAGE,
    TERM_MENTIONS,
    build_daily,
)
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline.usage.tables.languages import language_names
from mastodon_pipeline.usage.tables.table import Table
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
    """Different toots, with these fields."""
    return [record(uri=f"u{n}", status_id=str(n), **fields) for n, fields in enumerate(each)]


def day_of(lake: Lake, table: Table[date], *landed: Record, **values: object) -> list[Record]:
    """A table's day, without the day itself, built from these records."""
    land(lake, *landed)
    for hour in {event["created_at"].replace(minute=0, second=0) for event in landed}:
        build_toots(lake, hour)
    built = rows(lake, build_daily(lake, DAY, table, **values).path)
    assert all(row.pop("day") == DAY for row in built)
    return built


def test_apps_are_counted_and_unknown_ones_have_a_row(lake: Lake) -> None:
    """The most used first; an app named "unknown" is not the same as none."""
    posted = toots(
        {"app": "Tusky"},
        {"app": "Tusky", "server": "two.example"},
        {"app": "Tusky"},
        {"app": "unknown"},
        {},
        {},
    )
    assert day_of(lake, APP_USAGE, *posted) == [
        {"app": "Tusky", "toots": 3, "users": 2},
        {"app": "", "toots": 2, "users": 1},
        {"app": "unknown", "toots": 1, "users": 1},
    ]


def test_every_hour_of_the_day_has_its_row(lake: Lake) -> None:
    """By the time of posting, UTC, the first and the last hour included."""
    midnight = HOUR.replace(hour=0)
    last = midnight + timedelta(hours=23, minutes=59)
    posted = toots({}, {}, {"created_at": midnight}, {"created_at": last})
    hours = day_of(lake, HOUR_OF_DAY_USAGE, *posted)
    assert [row["hour_of_day"] for row in hours] == list(range(24))
    assert {row["hour_of_day"]: row["toots"] for row in hours if row["toots"]} == {
        0: 1,
        15: 2,
        23: 1,
    }
    assert hours[15]["users"] == 1


def test_languages_have_english_names_and_unknown_ones_have_a_row(lake: Lake) -> None:
    """A code without a name stands for itself: nothing is missing in the sum."""
    posted = toots(
        *[{"language_primary": "de"}] * 3,
        *[{"language_primary": ""}] * 2,
        {"language_primary": "tok", "username": "ben"},
        {"language_primary": "zz9"},
    )
    assert day_of(lake, LANGUAGE_USAGE, *posted) == [
        {"language_primary": "de", "language_name": "German", "toots": 3, "users": 1},
        {"language_primary": "", "language_name": "unknown", "toots": 2, "users": 1},
        {"language_primary": "tok", "language_name": "Toki Pona", "toots": 1, "users": 1},
        {"language_primary": "zz9", "language_name": "zz9", "toots": 1, "users": 1},
    ]


def test_language_names_are_those_of_primary_subtags() -> None:
    """Small languages too; regional variants are not among them."""
    names = language_names()
    assert (names["kab"], names["zh"], names["nb"]) == ("Kabyle", "Chinese", "Norwegian Bokmål")
    assert not [code for code in names if not code.isalpha()]


def test_quartiles_of_a_language_are_those_of_its_lengths(lake: Lake) -> None:
    """Interpolated; deleted toots count with the length that they had."""
    posted = toots(
        *({"characters": characters, "language_primary": "de"} for characters in (0, 10, 20, 41)),
        {"characters": 500, "language_primary": "en"},
    )
    density = day_of(lake, LANGUAGE_DENSITY, *in_order(*posted, delete(uri="u3", status_id="3")))
    assert density == [
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
def test_term_is_a_whole_word_in_any_case(lake: Lake, text: str, term: str, mentions: int) -> None:
    """In any script, side by side, with characters that are special in regular expressions."""
    counts = day_of(lake, TERM_MENTIONS, *toots({"mastodon_text": text}), terms=[term])
    assert counts == [
        {"term": term.lower(), "toots": int(mentions > 0), "mentions": mentions},
    ]


def test_each_term_has_one_row_and_deleted_text_mentions_nothing(lake: Lake) -> None:
    """Also terms that nobody mentioned; the text of a deleted toot is gone."""
    posted = toots(*[{"mastodon_text": "duckdb reads what kafka wrote"}] * 2)
    counts = day_of(
        lake,
        TERM_MENTIONS,
        *in_order(*posted, delete(uri="u1", status_id="1")),
        terms=["kafka", "DuckDB", "duckdb", "seaborn"],
    )
    assert counts == [
        {"term": "duckdb", "toots": 1, "mentions": 1},
        {"term": "kafka", "toots": 1, "mentions": 1},
        {"term": "seaborn", "toots": 0, "mentions": 0},
    ]


def test_terms_are_read_from_the_settings(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """`TERMS`, separated by commas."""
    monkeypatch.setenv("TERMS", "open source, Python")
    counts = day_of(lake, TERM_MENTIONS, record(mastodon_text="Open Source in python"))
    assert [(row["term"], row["mentions"]) for row in counts] == [("open source", 1), ("python", 1)]


def test_term_mentions_is_empty_without_terms(lake: Lake) -> None:
    assert day_of(lake, TERM_MENTIONS, record(), terms=[]) == []


@pytest.mark.parametrize(
    "table",
    [table for table in DAILY_TABLES if table is not ACTIVE_USERS],
    ids=lambda table: table.name,
)
def test_daily_table_reads_only_the_toots_of_its_day(lake: Lake, table: Table[date]) -> None:
    """Those of neighbouring days are in other folders; `active_users` has four weeks."""
    for shift in (-1, 0, 1):
        hour = HOUR + timedelta(days=shift)
        land(lake, record(uri=str(shift), status_id=str(shift), created_at=hour))
        build_toots(lake, hour)
    built = table.build(lake, DAY)
    assert built.input_files == 1
    assert sum(row["toots"] for row in rows(lake, built.path)) == (
        0 if table is TERM_MENTIONS else 1
    )
