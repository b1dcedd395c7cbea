"""Replaying Parquet: the same toots, whoever had written the files."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from msgspec.structs import asdict

from infra.native_stack import Stack
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.errors import ReplayError
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline.listening.topic.observation import observe_topic
from mastodon_pipeline.listening.topic.reading import follow
from mastodon_pipeline.listening.topic.replay import (
    ARTICLE_COLUMNS,
    ParquetToots,
    ReplayCounts,
    replay,
)
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.tables.hourly import build_toots
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
from mastodon_pipeline_tests.support.recording_sink import RecordingSink, wait_until

POSTED = datetime(2023, 2, 3, 10, 11, 12, tzinfo=UTC)
_ARTICLE_TYPES = {
    **dict.fromkeys(("m_id", "created_at"), "BIGINT"),
    **dict.fromkeys(("favourites", "tags", "characters", "words"), "INTEGER"),
    "bot": "BOOLEAN",
}


def article_row(**fields: Any) -> dict[str, Any]:
    """A row as the article's listener made it."""
    row: dict[str, Any] = {
        "m_id": 109_800_000_000_000_001,
        "created_at": int(POSTED.timestamp()),
        "created_at_str": "2023 02 03 10:11:12",
        "app": "Web",
        "url": "https://one.example/@ada/109800000000000001",
        "base_url": "https://one.example",
        "language": "en",
        "favourites": 0,
        "username": "ada",
        "bot": False,
        "tags": 1,
        "characters": 5,
        "words": 1,
        "mastodon_text": "hello",
    }
    assert fields.keys() <= row.keys() == ARTICLE_COLUMNS
    return row | fields


def write_article(path: Path, *written: dict[str, Any], without: Sequence[str] = ()) -> str:
    """The article's files."""
    names = [name for name in article_row() if name not in without]
    with duckdb.connect(":memory:") as connection:
        columns = ", ".join(f"{name} {_ARTICLE_TYPES.get(name, 'VARCHAR')}" for name in names)
        connection.execute(f"CREATE TABLE article ({columns})")
        for row in written:
            marks = ", ".join("?" for _ in names)
            connection.execute(f"INSERT INTO article VALUES ({marks})", [row[n] for n in names])
        connection.table("article").write_parquet(str(path))
    return str(path)


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


def test_a_landed_record_comes_back_as_it_was(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """Every field of the schema, save the source; times in milliseconds; it encodes."""
    written = record(
        edited_at=HOUR + timedelta(milliseconds=1),
        tag_names=["a", "b"],
        tags=2,
        indexable=True,
        mastodon_text="grüezi",
    )
    write_parquet(connection, f"{tmp_path}/a.parquet", [written])
    [found] = replayed(f"{tmp_path}/*.parquet")
    fields: dict[str, Any] = {
        field.name: milliseconds(written[field.name]) if field.is_time else written[field.name]
        for field in record_fields()
    }
    assert found == TootRecord(**fields | {"source": "replay"})
    assert decode(encode(found, 1)) == found


def test_deletes_come_back_too(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Or the text that they took away would be there again."""
    write_parquet(connection, f"{tmp_path}/a.parquet", in_order(record(), delete(uri="")))
    assert [(r.event, r.uri) for r in replayed(f"{tmp_path}/a.parquet")] == [
        ("update", "https://one.example/1"),
        ("delete", ""),
    ]


def test_columns_that_an_older_file_lacks_take_the_schemas_default(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """As when the topic itself is read."""
    path = f"{tmp_path}/old.parquet"
    write_parquet(connection, path, [record()], without=["tag_names", "edited_at", "indexable"])
    [found] = replayed(path)
    assert (found.tag_names, found.edited_at, found.indexable) == ([], None, None)


def test_a_row_of_the_article_is_a_record(tmp_path: Path) -> None:
    """Its created_at is the second of reading; its language "unknown" is none."""
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
        created_at=int(POSTED.timestamp()) * 1000,
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
    assert all(decode(encode(one, 1)) for one in (local, remote, bare, other))


def test_a_toot_that_both_listeners_saw_is_one(tmp_path: Path) -> None:
    """The article's row and ours have one uri, and ours, read with more care, wins."""
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


def test_what_is_no_toot_is_a_dead_letter_and_the_others_go_on(tmp_path: Path) -> None:
    """With the row and the reason."""
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
def test_what_cannot_be_replayed_is_one_line(glob: str, reason: str, tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "a.txt").write_text("no Parquet at all")
    write_article(tmp_path / "lacking.parquet", article_row(), without=["bot", "words"])
    path = glob if "://" in glob else f"{tmp_path}/{glob}"
    with pytest.raises(ReplayError, match=reason) as refused:
        ParquetToots([path])
    assert "\n" not in str(refused.value)


def test_the_command_fills_the_topic_and_may_be_repeated(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Kafka's timestamps are the post times, so the sink puts each toot into its own hour."""
    monkeypatch.setenv("KAFKA_TOPIC", f"replay-{uuid.uuid4().hex[:8]}")
    settings = Settings()
    number = 1200
    written = [
        article_row(m_id=n, url=f"https://one.example/@ada/{n}", created_at=1_675_000_000 + n)
        for n in range(number)
    ]
    write_article(tmp_path / "a.parquet", *written, article_row(m_id=None, url=None))
    for _ in range(2):
        result = CliRunner().invoke(cli, ["replay", f"{tmp_path}/*.parquet"])
        assert result.exit_code == 0, result.output
        assert f"{number} of {number + 1} rows are in {settings.kafka_topic}, 1 are not" in (
            result.stderr
        )
    outages: list[str] = []
    with follow(settings, settings.kafka_topic, True, outages.append) as messages:
        found = [next(messages) for _ in range(2 * number)]
    posted = {decode(m.value() or b"").uri: m.timestamp()[1] for m in found}
    assert posted == {
        f"https://one.example/users/ada/statuses/{n}": (1_675_000_000 + n) * 1000
        for n in range(number)
    }
    assert observe_topic(settings).end_offset == 2 * number


def test_landed_files_are_replayed_from_the_object_store(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the topic was lost."""
    name = f"replay-{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("KAFKA_TOPIC", name)
    monkeypatch.setenv("S3_BUCKET", name)
    settings = Settings()
    ensure_bucket(settings)
    folder = f"s3://{name}/topics/{name}"
    with connect_lake(settings) as lake:
        for hour in range(3):
            toot = record(uri=f"https://one.example/{hour}", status_id=str(hour))
            path = f"{folder}/created_at_hour=2026-11-24-0{hour}/a.parquet"
            write_parquet(lake, path, [toot])
    result = CliRunner().invoke(cli, ["replay", f"{folder}/*/*.parquet"])
    assert result.exit_code == 0, result.output
    assert f"3 of 3 rows are in {name}" in result.stderr
    assert observe_topic(settings).end_offset == 3


def test_ctrl_c_ends_a_long_replay_and_says_how_far_it_came(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was sent is flushed, and there is no traceback."""
    monkeypatch.setenv("KAFKA_TOPIC", f"replay-{uuid.uuid4().hex[:8]}")
    settings = Settings()
    ensure_topics(settings, listening_topics(settings))
    path = write_article(tmp_path / "one.parquet", article_row())
    with duckdb.connect(":memory:") as connection:
        one = connection.read_parquet(path)
        many = (
            connection.sql("FROM range(400_000)")
            .cross(one)
            .project(f"{', '.join(ARTICLE_COLUMNS)}")
        )
        many.write_parquet(f"{tmp_path}/many.parquet")
    command = [
        sys.executable,
        "-c",
        "from mastodon_pipeline.cli.main import main; main()",
        "replay",
    ]
    with subprocess.Popen(
        [*command, f"{tmp_path}/many.parquet"], env=os.environ, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: observe_topic(settings).end_offset > 0, "the first toots")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted; replay again" in err
    assert "Traceback" not in err
    assert f"{observe_topic(settings).end_offset} of 400000 rows are in" in err
