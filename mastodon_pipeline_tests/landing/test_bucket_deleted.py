"""The bucket is deleted while the sink runs: it is made again, and filled from Kafka."""

from contextlib import closing

import dagster as dg
import pytest

from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.health import SinkState, connector_health
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.landing_sink import FIRST, HOURS, wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]


def test_deleted_bucket_is_made_again_and_filled_with_what_kafka_holds(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """By one run of the job that the supervisor requests for a failed sink. Shows G11."""
    wait_for_sink(sink)
    before = landing_completeness(sink, lake)
    delete_bucket(sink)
    produce(sink, toots(100, FIRST, HOURS))
    wait_until(lambda: connector_health(sink, None, 0).state is SinkState.FAILED, "the sink fails")
    with dg.DagsterInstance.ephemeral() as instance:
        assert kafka_connect_config.execute_in_process(instance=instance).success
    wait_for_sink(sink)
    completeness = landing_completeness(sink, lake)
    assert completeness.missing == 0
    assert completeness.landed == before.landed + 100


def delete_bucket(settings: Settings) -> None:
    """Delete all objects and the bucket, although the sink may write meanwhile."""

    def deleted() -> bool:
        with closing(s3_client(settings)) as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=settings.s3_bucket)
            for page in pages:
                for each in page.get("Contents", []):
                    s3.delete_object(Bucket=settings.s3_bucket, Key=each["Key"])
            try:
                s3.delete_bucket(Bucket=settings.s3_bucket)
            except s3.exceptions.ClientError:
                return False
            return True

    wait_until(deleted, "the bucket is deleted")
