"""The listening stage's assets: they live outside Dagster, and are observed.

`mastodon_topic` is observed by the schedule below every ten minutes (what the broker holds), and
by each listener run every 15 minutes or where something changed (`listener_observation`). Both
then evaluate its check `wanted_servers_are_heard`.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.listening.supervising.checks import report_evaluation
from mastodon_pipeline.listening.supervising.topic_asset import TOPIC_ASSET
from mastodon_pipeline.listening.topic.observation import (
    TopicObservation,
    observe_topic,
)
from mastodon_pipeline.settings import load_settings

_OWNER = "team:mastodon-pipeline"

mastodon_servers = dg.AssetSpec(
    "mastodon_servers",
    group_name="ingestion",
    kinds={"mastodon"},
    owners=[_OWNER],
    description=(
        "The Mastodon servers that are listened to (MASTODON_SERVERS, MASTODON_SERVERS_FILE): "
        "their public top-level posts, as their streams and public timelines show them."
    ),
)
mastodon_topic = dg.AssetSpec(
    TOPIC_ASSET,
    deps=[mastodon_servers],
    group_name="ingestion",
    kinds={"kafka"},
    owners=[_OWNER],
    description=(
        "The Kafka topic with one Avro record for each new, edited or deleted toot. Observed: the "
        "broker's end offsets, rate and newest record; the listeners' state, server by server."
    ),
)


@dg.op(
    ins={"after": dg.In(dg.Nothing)},
    description="Asks the broker what the topic holds, and notes it at the asset.",
)
def observe_mastodon_topic_op(context: dg.OpExecutionContext) -> None:
    """One observation of `mastodon_topic`."""
    try:
        now = observe_topic(load_settings())
    except PipelineError as error:
        raise dg.Failure(str(error)) from None
    context.log_event(
        dg.AssetObservation(
            TOPIC_ASSET,
            description="as the broker has it",
            metadata=_metadata(now, _previous(context.instance)),
        )
    )


@dg.op(
    description="Judges, from what the listeners reported, whether every wanted server is heard.",
)
def judge_wanted_servers_op(context: dg.OpExecutionContext) -> None:
    """Evaluates `wanted_servers_are_heard`, also where no listener runs to do it."""
    try:
        report_evaluation(context.instance)
    except PipelineError as error:
        raise dg.Failure(str(error)) from None


@dg.job(
    executor_def=dg.in_process_executor,
    description="Observes the asset mastodon_topic, and checks its wanted servers.",
)
def observe_mastodon_topic() -> None:
    """Two ops: the check needs no broker, so it comes first."""
    observe_mastodon_topic_op(after=judge_wanted_servers_op())


mastodon_topic_observation_schedule = dg.ScheduleDefinition(
    name="mastodon_topic_observation_schedule",
    job=observe_mastodon_topic,
    cron_schedule="*/10 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Observes the topic every ten minutes.",
)


def _metadata(now: TopicObservation, previous: tuple[float, int] | None) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {
        "end_offset": now.end_offset,
        "end_offsets": {str(number): offset for number, offset in now.end_offsets.items()},
        "dagster/row_count": now.records,
        "observed_at": dg.MetadataValue.timestamp(now.observed_at),
    }
    if now.newest_record_at:
        metadata["newest_record_at"] = dg.MetadataValue.timestamp(now.newest_record_at / 1000)
    if previous is not None and now.observed_at > previous[0]:
        since, end_offset = previous
        per_minute = (now.end_offset - end_offset) / (now.observed_at - since) * 60
        metadata["records_per_minute"] = round(per_minute, 2)
    return metadata


def _previous(instance: dg.DagsterInstance) -> tuple[float, int] | None:
    # The listeners' observations lie in between.
    for record in instance.fetch_observations(TOPIC_ASSET, limit=100).records:
        observation = record.asset_observation
        if observation and "end_offset" in observation.metadata:
            end_offset = observation.metadata["end_offset"].value
            return record.timestamp, int(str(end_offset))
    return None
