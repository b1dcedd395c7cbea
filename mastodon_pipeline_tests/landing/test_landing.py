"""The topic lands as Parquet, on the real stack: Kafka, registry, Connect and MinIO."""

from contextlib import closing
from datetime import timedelta

import dagster as dg
import pytest

from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.landing.assets import observe_landed_toots
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.landed_index import landed_toots
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.producing import eventually, produce, toots
from mastodon_pipeline_tests.support.sinking import FIRST, HOURS, caught_up

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]


def test_files_land_in_the_hours_in_which_their_toots_were_posted(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """`created_at_hour=YYYY-MM-DD-HH` stands directly below the topic's folder."""
    folders = {
        f"s3://landing-bucket/topics/landing-topic/created_at_hour={hour:%Y-%m-%d-%H}": hour
        for hour in (FIRST + timedelta(hours=number) for number in range(HOURS))
    }
    landed_files = lake.parquet_files(lake.layout.landed())
    assert {file.path.rpartition("/")[0] for file in landed_files} == set(folders)
    for hour, files in lake.by_hour(landed_files).items():
        for file in files:
            assert folders[file.path.rpartition("/")[0]] == hour
            posted_in = lake.connection.execute(
                "SELECT DISTINCT date_trunc('hour', created_at) FROM read_parquet(?)", [file.path]
            ).fetchall()
            assert posted_in == [(hour,)]


def test_every_field_is_a_column_and_the_kafka_coordinates_too(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """One column an Avro field, plus `_partition`, `_offset`, `_ts`; zstd."""
    paths = [file.path for file in lake.parquet_files(lake.layout.landed())]
    columns = dict(
        lake.connection.execute(
            "SELECT column_name, column_type FROM (DESCRIBE FROM read_parquet($files,"
            " hive_partitioning := false))",
            {"files": paths},
        ).fetchall()
    )
    fields = [field.name for field in record_fields()]
    assert list(columns) == [*fields, "_offset", "_partition", "_ts"]
    assert columns["created_at"].startswith("TIMESTAMP")
    assert columns["tag_names"] == "VARCHAR[]"
    codecs = lake.connection.execute(
        "SELECT DISTINCT compression FROM parquet_metadata($files)", {"files": paths}
    ).fetchall()
    assert codecs == [("ZSTD",)]


def test_nothing_is_missing(sink: Settings, landed: int, lake: Lake) -> None:
    """Every toot is there, and the check agrees; the tombstone is told from a lost record."""
    paths = [file.path for file in lake.parquet_files(lake.layout.landed())]
    uris = lake.connection.execute(
        "SELECT count(DISTINCT uri) FROM read_parquet($files)", {"files": paths}
    ).fetchone()
    assert uris == (landed,)
    found = landing_completeness(sink, lake)
    assert found.complete
    assert found.landed >= landed
    assert found.cannot_land >= 1


def test_the_observation_tells_what_has_landed(sink: Settings, landed: int, lake: Lake) -> None:
    """Files, rows, bytes, hours, the newest toot and the lag stand at the asset."""
    caught_up(sink)
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
    assert counted.newest_toot is not None
    assert last - timedelta(minutes=1) < counted.newest_toot < last


def test_files_that_were_counted_are_not_opened_again(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """Only those of hours that got a file since; without the index, all of them."""
    caught_up(sink)
    before = landed_toots(lake)
    assert landed_toots(lake).opened == 0
    produce(sink, toots(1, FIRST, HOURS))
    caught_up(sink)
    eventually(
        lambda: len(lake.parquet_files(lake.layout.landed())) > before.files, "the file is there"
    )
    after = landed_toots(lake)
    first_hour = lake.parquet_files(lake.layout.landed_hour(FIRST))
    assert after.opened == len(first_hour) < after.files
    assert after.rows == before.rows + 1
    with closing(s3_client(sink)) as s3:
        s3.delete_object(Bucket=sink.s3_bucket, Key=lake.layout.key(lake.layout.landed_index()))
    again = landed_toots(lake)
    assert (again.opened, again.rows) == (after.files, after.rows)
