"""Faults on the real stack: no record is lost, and a loss is reported."""

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
from mastodon_pipeline.landing.put_back import put_back
from mastodon_pipeline.landing.sensors import connector_supervisor
from mastodon_pipeline.landing.sink_progress import dead_lettered, sink_progress
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.landing_sink import (
    FIRST,
    HOURS,
    LONG_AGO,
    sink_state,
    wait_for_sink,
)
from mastodon_pipeline_tests.support.producing import produce, produce_bytes, toots
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]


def test_bad_record_is_dead_lettered_and_the_sink_continues(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """It is in the dead-letter topic with its offset, and a light is red until it is dismissed.

    As the last of its partition it is never committed, and yet the sink does not count as stalled.
    Shows G10.
    """
    ends = {partition.partition: partition.end for partition in sink_progress(sink)}
    produce_bytes(sink, b"this is no Avro", partition=1)
    wait_until(lambda: (1, ends[1]) in dead_lettered(sink), "the bad record is dead-lettered")
    committed = sum(partition.committed for partition in sink_progress(sink))
    state = sink_state(sink, Watermark(committed, LONG_AGO), now=LONG_AGO + 3_600)
    assert state is SinkState.DEAD_LETTERING
    produce(sink, toots(100, FIRST, HOURS))
    wait_for_sink(sink)
    completeness = landing_completeness(sink, lake)
    assert not completeness.complete
    assert (completeness.missing, completeness.dead_lettered) == (0, 1)
    result = put_back(sink, dismiss=True)
    assert (result.letters, result.acknowledged, result.bad) == (1, 0, 1)
    assert landing_completeness(sink, lake).complete


def test_sink_that_commits_nothing_while_records_wait_is_stalled(
    sink: Settings, landed: int
) -> None:
    """Though its tasks are RUNNING: only the watermark shows it.

    Checked right after producing, and again if the sink commits in between. Shows G11.
    """

    def is_stalled() -> bool:
        committed = sum(partition.committed for partition in sink_progress(sink))
        produce(sink, toots(10, FIRST, HOURS))
        health = connector_health(sink, Watermark(committed, LONG_AGO), LONG_AGO + 3_600)
        return (
            health.state is SinkState.STALLED
            and "task 0 RUNNING" in health.detail
            and "none committed for 3600 s" in health.detail
        )

    wait_until(is_stalled, "records wait and the watermark does not move")


def test_deleted_connector_is_created_again_and_continues_where_it_was(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """The supervisor requests the job, the job repairs the sink, and no record is missing.

    Shows G11.
    """
    with ConnectRest.of(sink) as connect:
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
        wait_for_sink(sink)
        healthy = connector_supervisor(
            dg.build_sensor_context(instance=instance, cursor=tick.cursor)
        )
    assert isinstance(healthy, dg.SensorResult)
    assert "saw: healthy" in str(healthy.skip_reason)
    assert landing_completeness(sink, lake).complete


def test_lost_files_are_reported_record_by_record(sink: Settings, landed: int, lake: Lake) -> None:
    """A folder's files vanish from the bucket; Dagster's check fails too.

    The whole folder, since the sink may have written a record twice. Shows G10.
    """
    wait_for_sink(sink)
    bucket = sink.s3_bucket
    landed_files = lake.parquet_files(lake.layout.landed())
    folder = landed_files[0].path.rpartition("/")[0]
    paths = [file.path for file in landed_files if file.path.startswith(folder)]
    lost = set(
        lake.connection.execute(
            "SELECT kafka_partition, kafka_offset FROM read_parquet($files)", {"files": paths}
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
            completeness = landing_completeness(sink, lake)
            evaluation = check_in_dagster()
        finally:
            for key, content in contents.items():
                s3.put_object(Bucket=bucket, Key=key, Body=content)
    assert completeness.missing == len(lost)
    assert set(completeness.examples) == lost
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["missing"].value == len(lost)
    assert check_in_dagster().passed


def check_in_dagster() -> dg.AssetCheckEvaluation:
    """Run the check's job and return its evaluation."""
    from mastodon_pipeline.landing.definitions import definitions

    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions.resolve_job_def(landed_toots_check.name)
        result = job.execute_in_process(instance=instance)
        (evaluation,) = result.get_asset_check_evaluations()
    return evaluation
