"""`mastodon-pipeline replay`, against a real Kafka, registry and object store."""

import signal
import subprocess
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from infra.native_stack import Stack
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.observation import observe_topic
from mastodon_pipeline.listening.topic.replay import ARTICLE_COLUMNS
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.article_files import article_row, write_article
from mastodon_pipeline_tests.support.kafka_topics import read_all, with_new_topics
from mastodon_pipeline_tests.support.local_lake import record, write_parquet
from mastodon_pipeline_tests.support.processes import CLI, python_process
from mastodon_pipeline_tests.support.waiting import wait_until


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics that no other test uses."""
    return with_new_topics(monkeypatch, "replay")


def test_replayed_rows_have_their_post_times_and_may_be_replayed_again(
    settings: Settings, tmp_path: Path
) -> None:
    """Kafka's timestamps are the post times, so the sink puts each toot into its own hour.

    Shows G18.
    """
    number = 1200
    rows = [
        article_row(m_id=n, url=f"https://one.example/@ada/{n}", created_at=1_675_000_000 + n)
        for n in range(number)
    ]
    write_article(tmp_path / "a.parquet", *rows, article_row(m_id=None, url=None))
    for _ in range(2):
        result = CliRunner().invoke(cli, ["replay", f"{tmp_path}/*.parquet"])
        assert result.exit_code == 0, result.output
        assert f"{number} of {number + 1} rows are in {settings.kafka_topic}, 1 are not" in (
            result.stderr
        )
    messages = read_all(settings, settings.kafka_topic)
    assert len(messages) == 2 * number
    records = [decode(message.value() or b"") for message in messages]
    assert {record.uri: record.created_at for record in records} == {
        f"https://one.example/users/ada/statuses/{n}": (1_675_000_000 + n) * 1000
        for n in range(number)
    }


def test_landed_files_are_replayed_from_the_object_store(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the topic was lost."""
    name = settings.kafka_topic
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


def test_ctrl_c_ends_a_long_replay_and_reports_how_many_rows_were_sent(
    settings: Settings, tmp_path: Path
) -> None:
    """What was sent is flushed, and there is no traceback."""
    ensure_topics(settings, listening_topics(settings))
    path = write_article(tmp_path / "one.parquet", article_row())
    with duckdb.connect(":memory:") as connection:
        row = connection.read_parquet(path)
        rows = connection.sql("FROM range(400_000)").cross(row)
        rows.project(", ".join(ARTICLE_COLUMNS)).write_parquet(f"{tmp_path}/many.parquet")
    with python_process(
        *CLI, "replay", f"{tmp_path}/many.parquet", stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: observe_topic(settings).end_offset > 0, "the first toots")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=900)
    assert process.returncode == 130
    assert "interrupted; replay again" in err
    assert "Traceback" not in err
    assert f"{observe_topic(settings).end_offset} of 400000 rows are in" in err
