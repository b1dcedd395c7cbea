"""Parquet files replayed: landed records, and those of the article's listener."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec.structs import asdict

from mastodon_pipeline.errors import ReplayError
from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline.listening.topic.replay import (
    ParquetToots,
    ReplayCounts,
    replay,
)
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import HOUR_KEY
from mastodon_pipeline.usage.partitions import hours
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.article_files import POSTED, article_row, write_article
from mastodon_pipeline_tests.support.local_lake import (
    HOUR,
    delete,
    in_order,
    land,
    local_lake,
    record,
    rows,
    write_parquet,
)
from mastodon_pipeline_tests.support.recording_sink import RecordingSink


def utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def replayed(path: str) -> list[TootRecord]:
    """Return the records that a replay of the files sends."""
    sink = RecordingSink()
    with ParquetToots([path]) as toots:
        replay(toots.rows(), sink, ReplayCounts(), lambda rows: None)
        assert len(sink.records) + len(sink.dead_letters) == toots.row_count
    return sink.records


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB to write files with."""
    with duckdb.connect(":memory:") as opened:
        yield opened


def test_landed_record_is_replayed_as_it_was(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Every field of the schema but the source; it encodes."""
    written = record(
        edited_at=HOUR + timedelta(milliseconds=1),
        tag_names=["a", "b"],
        tags=2,
        indexable=True,
        mastodon_text="grüezi",
    )
    write_parquet(connection, f"{tmp_path}/a.parquet", [written])
    [toot] = replayed(f"{tmp_path}/*.parquet")
    fields: dict[str, Any] = {
        field.name: milliseconds(written[field.name]) if field.is_time else written[field.name]
        for field in record_fields()
    }
    assert toot == TootRecord(**fields | {"source": "replay"})
    assert decode(encode(toot, 1)) == toot


def test_deletes_are_replayed_too(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Otherwise the text that they removed would be there again."""
    write_parquet(connection, f"{tmp_path}/a.parquet", in_order(record(), delete(uri="")))
    assert [(r.event, r.uri) for r in replayed(f"{tmp_path}/a.parquet")] == [
        ("update", "https://one.example/1"),
        ("delete", ""),
    ]


def test_deleted_toots_of_the_table_stay_deleted(tmp_path: Path) -> None:
    """They count again in a lake without them, and have neither text nor hashtags. Shows G18."""
    published = record(uri="https://one.example/2", status_id="2", mastodon_text="stays")
    with local_lake(tmp_path / "first") as lake:
        land(lake, *in_order(record(mastodon_text="gone", tag_names=["gone"]), delete()), published)
        path = build_toots(lake, HOUR).path
        expected = rows(lake, path)
    sink, counts = RecordingSink(), ReplayCounts()
    with ParquetToots([path]) as toots:
        replay(toots.rows(), sink, counts, lambda rows: None)
        assert (counts.sent, counts.acknowledged) == (toots.row_count, toots.row_count)
    times = ("created_at", "ingested_at")
    again = [
        record(**{**asdict(sent), **{name: from_ms(getattr(sent, name)) for name in times}})
        for sent in sink.records
    ]
    with local_lake(tmp_path / "second") as lake:
        land(lake, *in_order(*again))
        replayed_toots = rows(lake, build_toots(lake, HOUR).path)
    assert [(t["uri"], t["deleted"], t["mastodon_text"], t["tag_names"]) for t in expected] == [
        (t["uri"], t["deleted"], t["mastodon_text"], t["tag_names"]) for t in replayed_toots
    ]
    assert [toot["deleted"] for toot in replayed_toots] == [True, False]


def from_ms(milliseconds: int) -> datetime:
    """Return a time in UTC milliseconds as a datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def test_missing_columns_of_an_older_file_take_the_schemas_defaults(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """As when the topic itself is read."""
    path = f"{tmp_path}/old.parquet"
    write_parquet(connection, path, [record()], without=["tag_names", "edited_at", "indexable"])
    [toot] = replayed(path)
    assert (toot.tag_names, toot.edited_at, toot.indexable) == ([], None, None)


def test_row_of_the_article_becomes_a_record(tmp_path: Path) -> None:
    """Its created_at is the second of reading, and its id tells that of posting.

    Its language "unknown" becomes ''.
    """
    path = write_article(
        tmp_path / "a.parquet",
        article_row(),
        article_row(url="https://two.example/@bob/7", username="bob", language="unknown", app=None),
        article_row(url=None, language="zh-TW", bot=True),
        article_row(url="https://pleroma.example/notice/AbC"),
    )
    local, remote, bare, other = replayed(path)
    assert local == TootRecord(
        uri="https://one.example/users/ada/statuses/109800000000000001",
        status_id="109800000000000001",
        base_url="https://one.example",
        server="one.example",
        created_at=109_800_000_000_000_001 >> 16,
        ingested_at=int(POSTED.timestamp()) * 1000,
        source="replay",
        username="ada",
        acct="ada",
        bot=False,
        app="Web",
        url="https://one.example/@ada/109800000000000001",
        language="en",
        language_primary="en",
        favourites=0,
        tags=1,
        characters=5,
        words=1,
        mastodon_text="hello",
    )
    assert (remote.uri, remote.server, remote.acct) == (
        "https://two.example/users/bob/statuses/7",
        "two.example",
        "bob@two.example",
    )
    assert (remote.language, remote.app) == ("", "")
    assert (bare.uri, bare.server, bare.language_primary) == ("", "one.example", "zh")
    assert other.uri == "https://pleroma.example/notice/AbC"
    for toot in (local, remote, bare, other):
        assert decode(encode(toot, 1)) == toot


SNOWFLAKE = (int(HOUR.timestamp() * 1000) + 3_599_000 << 16) + 7
"""An id of the last second of an hour."""


@pytest.mark.parametrize(
    ("fields", "posted"),
    [
        ({"url": f"https://two.example/@bob/{SNOWFLAKE}", "m_id": 1}, "id"),
        ({"url": "https://pleroma.example/notice/AbC", "m_id": SNOWFLAKE}, "id"),
        ({"url": None, "m_id": SNOWFLAKE}, "id"),
        ({"url": f"https://two.example/@bob/{SNOWFLAKE}", "m_id": SNOWFLAKE + 2**40}, "id"),
        # Ids of other kinds: short ones, of another year, of the future, too large.
        ({"url": "https://two.example/@bob/7", "m_id": 7}, "reading"),
        ({"url": None, "m_id": None, "base_url": "https://one.example"}, "dead letter"),
        ({"url": f"https://two.example/@bob/{SNOWFLAKE - 2**53}", "m_id": None}, "reading"),
        ({"url": f"https://two.example/@bob/{SNOWFLAKE + 2**46}", "m_id": None}, "reading"),
        ({"url": "https://two.example/@bob/99999999999999999999", "m_id": 2**62}, "reading"),
    ],
)
def test_toot_of_the_article_was_posted_when_its_id_says(
    fields: dict[str, Any], posted: str, tmp_path: Path
) -> None:
    """Two listeners read it seconds apart, one of them in the next hour. Shows G12."""
    readings = [int(HOUR.timestamp()) + 3599, int(HOUR.timestamp()) + 3604]
    rows = [article_row(**fields, created_at=reading) for reading in readings]
    records = replayed(write_article(tmp_path / "a.parquet", *rows))
    if posted == "dead letter":
        assert records == []
        return
    times = [SNOWFLAKE >> 16] * 2 if posted == "id" else [1000 * reading for reading in readings]
    assert [record.created_at for record in records] == times
    assert [record.ingested_at for record in records] == [1000 * reading for reading in readings]


@pytest.mark.thorough
def test_toots_of_the_articles_day_are_counted_without_a_setting(tmp_path: Path) -> None:
    """Its listener wrote ten on 2023-04-24, in two hours."""
    began = datetime(2023, 4, 24, 15, 59, 50, tzinfo=UTC)
    article = [
        article_row(
            created_at=int(began.timestamp()) + 2 * number,
            m_id=number,
            url=f"https://one.example/@ada/{number}",
        )
        for number in range(1, 11)
    ]
    with local_lake(tmp_path / "lake") as lake:
        for toot in replayed(write_article(tmp_path / "article.parquet", *article)):
            times = {"created_at": utc(toot.created_at), "ingested_at": utc(toot.ingested_at)}
            land(lake, record(**{**asdict(toot), **times}), name=toot.status_id)
        now = datetime(2026, 11, 26, tzinfo=UTC)
        stale = scan(lake, Cursor(), now, load_settings().first_day).stale_hours
        counted = [len(rows(lake, build_toots(lake, hour).path)) for hour in sorted(stale)]
    assert counted == [4, 6]
    assert f"{stale[0]:{HOUR_KEY}}" in hours.get_partition_keys()


def test_toot_that_both_listeners_saw_counts_once(tmp_path: Path) -> None:
    """The article's row and our record have the same uri, and ours, read later, wins."""
    seen = record(
        uri="https://one.example/users/ada/statuses/7", status_id="7", username="ours", acct="ours"
    )
    row = article_row(m_id=7, url="https://one.example/@ada/7", created_at=int(HOUR.timestamp()))
    [again] = replayed(write_article(tmp_path / "article.parquet", row))
    times = {name: HOUR for name in ("created_at", "ingested_at")}
    with local_lake(tmp_path) as lake:
        ours = {**seen, "ingested_at": HOUR + timedelta(seconds=2)}
        land(lake, ours, record(**{**asdict(again), **times}))
        [toot] = rows(lake, build_toots(lake, HOUR).path)
    assert toot["username"] == "ours"


def test_row_that_is_no_toot_becomes_a_dead_letter(tmp_path: Path) -> None:
    """With the row and the reason; the other rows are sent."""
    path = write_article(
        tmp_path / "a.parquet",
        article_row(m_id=None, url=None),
        article_row(created_at=None),
        article_row(),
        article_row(created_at=int(datetime.now(UTC).timestamp()) + 86_400),
    )
    sink, counts = RecordingSink(), ReplayCounts()
    with ParquetToots([path]) as toots:
        replay(toots.rows(), sink, counts, lambda rows: None)
    assert [letter.reason for letter in sink.dead_letters] == [
        "neither a uri nor an id on a server says which toot this is",
        "created_at is missing",
    ]
    assert b"hello" in sink.dead_letters[0].payload
    now = datetime.now(UTC).timestamp() * 1000
    assert [r.created_at <= now + 300_000 for r in sink.records] == [True, True]
    assert (counts.sent, counts.acknowledged, counts.dead_letters) == (2, 2, 2)


@pytest.mark.parametrize(
    ("glob", "reason"),
    [
        ("nothing/*.parquet", "No files found"),
        ("*.txt", "not a Parquet file|too small|No magic bytes"),
        ("https://one.example/a.parquet", "is neither a local path nor one of s3://"),
        ("lacking.parquet", "the article's fourteen columns .they lack bot, words"),
    ],
)
def test_files_without_toots_are_refused_in_one_line(
    glob: str, reason: str, tmp_path: Path
) -> None:
    """Before anything is sent."""
    (tmp_path / "a.txt").write_text("no Parquet at all")
    write_article(tmp_path / "lacking.parquet", article_row(), without=["bot", "words"])
    path = glob if "://" in glob else f"{tmp_path}/{glob}"
    with pytest.raises(ReplayError, match=reason) as refused:
        ParquetToots([path])
    assert "\n" not in str(refused.value)
