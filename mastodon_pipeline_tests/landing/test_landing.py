"""The topic lands as Parquet, on the real stack: Kafka, registry, Connect and MinIO."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.landing.assets import observe_landed_toots
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.landed_index import LandedToots, landed_toots
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.landing_sink import FIRST, HOURS, wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]


def test_records_land_in_the_folder_of_the_day_they_arrived_on(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """Whatever their post times: `kafka_timestamp_day=YYYY-MM-DD`, below the topic's folder."""
    landed_files = lake.parquet_files(lake.layout.landed())
    days = {datetime.now(UTC).date() - timedelta(days=ago) for ago in (0, 1)}
    folders = {lake.layout.landed_day(day).rstrip("/") for day in days}
    assert {file.path.rpartition("/")[0] for file in landed_files} <= folders
    an_hour = landed // HOURS
    for number in range(HOURS):
        hour = FIRST + timedelta(hours=number)
        assert set(lake.landed.of_hour(hour)) <= set(landed_files)
        counted = lake.connection.execute(
            "SELECT count(DISTINCT uri) FROM read_parquet($files)"
            # Other tests produce to the same hours, with other numbers.
            " WHERE date_trunc('hour', created_at) = $hour"
            " AND status_id::INTEGER // $an_hour = $number",
            {
                "files": [file.path for file in lake.landed.of_hour(hour)],
                "hour": hour,
                "an_hour": an_hour,
                "number": number,
            },
        ).fetchone()
        assert counted == (an_hour,)


def test_every_field_and_the_kafka_coordinates_are_columns(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """One column for each Avro field, plus Kafka's coordinates; compressed with zstd."""
    paths = [file.path for file in lake.parquet_files(lake.layout.landed())]
    columns = dict(
        lake.connection.execute(
            "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet($files,"
            " hive_partitioning := false))",
            {"files": paths},
        ).fetchall()
    )
    fields = [field.name for field in record_fields()]
    assert list(columns) == [*fields, "kafka_offset", "kafka_partition", "kafka_timestamp"]
    assert columns["created_at"].startswith("TIMESTAMP")
    assert columns["tag_names"] == "VARCHAR[]"
    codecs = lake.connection.execute(
        "SELECT DISTINCT compression FROM parquet_metadata($files)", {"files": paths}
    ).fetchall()
    assert codecs == [("ZSTD",)]


def test_every_produced_toot_has_landed(sink: Settings, landed: int, lake: Lake) -> None:
    """The completeness check agrees, and does not take the tombstone for a lost record.

    Shows G10.
    """
    paths = [file.path for file in lake.parquet_files(lake.layout.landed())]
    uris = lake.connection.execute(
        "SELECT count(DISTINCT uri) FROM read_parquet($files)", {"files": paths}
    ).fetchone()
    assert uris == (landed,)
    completeness = landing_completeness(sink, lake)
    assert completeness.complete
    assert completeness.landed >= landed
    assert completeness.cannot_land >= 1


def test_observation_shows_what_has_landed(sink: Settings, landed: int, lake: Lake) -> None:
    """Files, rows, bytes, hours, the newest toot and the sink's lag."""
    wait_for_sink(sink)
    counted = landed_toots(lake)
    with dg.DagsterInstance.ephemeral() as instance:
        observe_landed_toots.execute_in_process(
            instance=instance, resources={"lake": LakeResource()}
        )
        (record,) = instance.fetch_observations(dg.AssetKey("landed_toots"), limit=1).records
    observation = record.asset_observation
    assert observation is not None
    assert observation.metadata["dagster/row_count"].value == counted.rows >= landed
    assert observation.metadata["files"].value == counted.files
    assert observation.metadata["bytes"].value == counted.bytes > 0
    assert observation.metadata["hours"].value == HOURS
    assert observation.metadata["sink_lag"].value == 0
    last = FIRST + timedelta(hours=HOURS)
    assert counted.newest_hour == last - timedelta(hours=1)


def test_nothing_has_landed_while_there_is_no_bucket(sink: Settings) -> None:
    """The sink's job creates it; until then there is nothing to report."""
    settings = sink.model_copy(update={"s3_bucket": "no-such-bucket"})
    with open_lake(settings) as lake:
        assert landed_toots(lake) == LandedToots()
        with pytest.raises(BucketMissing, match=r"no-such-bucket.*S3_BUCKET"):
            lake.parquet_files(lake.layout.landed())


def test_only_new_files_are_opened_again(sink: Settings, landed: int, lake: Lake) -> None:
    """Without the index, all files are."""
    wait_for_sink(sink)
    before = landed_toots(lake)
    assert landed_toots(lake).opened == 0
    produce(sink, toots(1, FIRST, HOURS))
    wait_for_sink(sink)
    wait_until(
        lambda: len(lake.parquet_files(lake.layout.landed())) > before.files, "the file is there"
    )
    after = landed_toots(lake)
    assert after.opened == after.files - before.files
    assert after.rows == before.rows + 1
    with closing(s3_client(sink)) as s3:
        for file in lake.parquet_files(lake.layout.landed_index()):
            s3.delete_object(Bucket=sink.s3_bucket, Key=lake.layout.key(file.path))
    with open_lake(sink) as another:
        again = landed_toots(another)
    assert (again.opened, again.rows) == (after.files, after.rows)
