"""What goes wrong on a record's way, on the real stack: nothing is lost, and a loss is told."""

from contextlib import closing

import dagster as dg
import pytest

from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.assets import landed_toots_check
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.health import SinkState, Watermark, connector_health
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sensors import connector_supervisor
from mastodon_pipeline.landing.sink_progress import dead_lettered, sink_progress
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.producing import eventually, produce, produce_bytes, toots
from mastodon_pipeline_tests.support.sinking import FIRST, HOURS, LONG_AGO, caught_up

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]


def test_a_bad_record_is_dead_lettered_and_the_sink_goes_on(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """It is in the dead-letter topic by its offset, and the check counts it as accounted for.

    As the last of its partition it never gets committed, and yet the sink does not stand still.
    """
    before = {place.partition: place.end for place in sink_progress(sink)}
    produce_bytes(sink, b"this is no Avro", partition=1)
    eventually(lambda: (1, before[1]) in dead_lettered(sink), "the bad record is dead-lettered")
    committed = sum(place.committed for place in sink_progress(sink))
    health = connector_health(sink, Watermark(committed, LONG_AGO), now=LONG_AGO + 3_600)
    assert health.state is SinkState.HEALTHY
    produce(sink, toots(100, FIRST, HOURS))
    caught_up(sink)
    found = landing_completeness(sink, lake)
    assert found.complete
    assert found.dead_lettered == 1


def test_records_that_wait_too_long_are_a_standstill(sink: Settings, landed: int) -> None:
    """RUNNING tasks that commit nothing while records wait: seen by the watermark alone.

    Looked at right after producing, and again where the sink's commit came in between.
    """

    def stands_still() -> bool:
        committed = sum(place.committed for place in sink_progress(sink))
        produce(sink, toots(10, FIRST, HOURS))
        health = connector_health(sink, Watermark(committed, LONG_AGO), LONG_AGO + 3_600)
        assert "task 0 RUNNING" in health.detail
        return health.state is SinkState.STALLED and "none committed for 3600 s" in health.detail

    eventually(stands_still, "records wait and the watermark does not move")


def test_a_deleted_connector_is_made_again_and_goes_on_where_it_was(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """The supervisor asks for the job, the job repairs, and nothing is missing."""
    with ConnectRest(sink.kafka_connect_url) as connect:
        connect.delete(sink.connector_name)
    produce(sink, toots(100, FIRST, HOURS))
    with dg.DagsterInstance.ephemeral() as instance:
        tick = connector_supervisor(dg.build_sensor_context(instance=instance))
        assert isinstance(tick, dg.SensorResult)
        assert tick.run_requests is not None
        (request,) = tick.run_requests
        result = kafka_connect_config.execute_in_process(
            instance=instance, run_config=request.run_config
        )
        assert result.success
        caught_up(sink)
        rested = connector_supervisor(
            dg.build_sensor_context(instance=instance, cursor=tick.cursor)
        )
    assert isinstance(rested, dg.SensorResult)
    assert "saw: healthy" in str(rested.skip_reason)
    assert landing_completeness(sink, lake).complete


def test_a_planted_hole_is_found(sink: Settings, landed: int, lake: Lake) -> None:
    """An hour that vanishes from the bucket is missed record by record, in Dagster's check too.

    The whole hour, since the sink may have written a record twice.
    """
    caught_up(sink)
    bucket = sink.s3_bucket
    landed_files = lake.by_hour(lake.parquet_files(lake.layout.landed()))
    paths = [file.path for file in next(iter(landed_files.values()))]
    gone = set(
        lake.connection.execute(
            "SELECT _partition, _offset FROM read_parquet($files)", {"files": paths}
        ).fetchall()
    )
    with closing(s3_client(sink)) as s3:
        contents = {
            key: s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            for key in map(lake.layout.key, paths)
        }
        try:
            for key in contents:
                s3.delete_object(Bucket=bucket, Key=key)
            found = landing_completeness(sink, lake)
            evaluation = check_in_dagster()
        finally:
            for key, content in contents.items():
                s3.put_object(Bucket=bucket, Key=key, Body=content)
    assert found.missing == len(gone)
    assert set(found.examples) == gone
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["missing"].value == len(gone)
    assert check_in_dagster().passed


def check_in_dagster() -> dg.AssetCheckEvaluation:
    """Runs the check's job and returns what it found."""
    from mastodon_pipeline.landing.definitions import definitions

    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def(landed_toots_check.name)
        result = job.execute_in_process(instance=instance)
        (evaluation,) = result.get_asset_check_evaluations()
    return evaluation
