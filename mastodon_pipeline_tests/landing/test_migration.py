"""A lake of before 2026-11-26, filed by post hour, is migrated on the real stack."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.kafka_topics import apply_topic_config
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

FIRST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
HOURS = 5
EACH = 100
OLD_CONFIG = {
    "iceberg.tables.default-partition-by": "hour(created_at)",
    "transforms.off.offset.field": "_offset",
    "transforms.part.partition.field": "_partition",
    "transforms.ts.timestamp.field": "_ts",
    "iceberg.control.commit.interval-ms": "2000",
}


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """A topic, a bucket and a connector as an older version left them."""
    settings = load_settings(
        kafka_topic="migrated-topic",
        s3_bucket="migrated-bucket",
        connector_name="migrated-sink",
        iceberg_table="migrated.raw",
    )
    ensure_topics(settings, listening_topics(settings))
    apply_connector_config(settings, str, wanted=connector_config(settings) | OLD_CONFIG)
    apply_topic_config(settings, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
    yield settings
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


def committed_rows(settings: Settings) -> int:
    """Return the rows of the Iceberg table, as its newest snapshot counts them."""
    table = open_table(settings)
    newest = table.current_snapshot() if table else None
    if newest is None or newest.summary is None:
        return 0
    return int(newest.summary.additional_properties["total-records"])


def build_what_is_stale(lake: Lake) -> int:
    """Build the hours that are stale, as the sensor requests them; return the toots in all."""
    stale = scan(lake, Cursor(), datetime.now(UTC), date(2026, 1, 1)).stale_hours
    build_hours(lake, *stale)
    path = f"{lake.layout.table('toots')}*/*/*.parquet"
    counts = "SELECT count(DISTINCT uri), count(*) FROM read_parquet(?)"
    distinct, rows = lake.connection.execute(counts, [path]).fetchone() or (0, 0)
    assert distinct == rows
    return int(rows)


def test_lake_of_post_hours_is_migrated_and_counts_everything_once(settings: Settings) -> None:
    """Also what lands meanwhile: the tables, Iceberg and completeness agree. Shows G10."""
    produce(settings, toots(EACH, FIRST, HOURS))
    wait_for_sink(settings)
    wait_until(lambda: committed_rows(settings) >= EACH, "the old sink has committed")
    with open_lake(settings) as lake:
        folders = {file.path.split("/")[-2] for file in lake.parquet_files(lake.layout.landed())}
        assert {folder.split("=")[0] for folder in folders} == {"created_at_hour"}
        assert build_what_is_stale(lake) == EACH
    later = [record for record in toots(3 * EACH, FIRST, HOURS) if int(record.status_id) >= EACH]
    produce(settings, later[:EACH])

    lines: list[str] = []
    applied = apply_connector_config(settings, lines.append)

    assert "transforms.off.offset.field" in applied.changed
    [migrated] = [line for line in lines if line.startswith("migrated ")]
    assert "_partition is kafka_partition" in migrated
    produce(settings, later[EACH:])
    wait_for_sink(settings)
    wait_until(lambda: committed_rows(settings) >= 3 * EACH, "the new sink has committed")
    table = open_table(settings)
    assert table is not None
    assert [field.name for field in table.spec().fields] == ["kafka_timestamp_day"]
    names = {field.name for field in table.schema().fields}
    assert {"kafka_partition", "kafka_offset", "kafka_timestamp"} < names
    assert names.isdisjoint({"_partition", "_offset", "_ts"})
    coordinates = table.scan(selected_fields=("kafka_partition", "kafka_offset", "kafka_timestamp"))
    rows = coordinates.to_arrow().to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 3 * EACH
    assert None not in {value for row in rows for value in row.values()}
    with open_lake(settings) as lake:
        today = lake.layout.landed_day(datetime.now(UTC).date())
        assert lake.parquet_files(today) or datetime.now(UTC).hour == 0
        assert build_what_is_stale(lake) == 3 * EACH
        completeness = landing_completeness(settings, lake)
        assert (completeness.complete, completeness.landed) == (True, 3 * EACH)
    assert apply_connector_config(settings, str).changed == ()
