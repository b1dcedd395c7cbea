"""The listening stage's assets: they exist outside of Dagster, which observes them.

`mastodon_topic` is observed by `mastodon_topic_sensor` every ten minutes (what the broker holds),
and by each listener run at least every 15 minutes (`supervising.observations`). Both then evaluate
its check `all_servers_reporting`.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mastodon_pipeline.asset_keys import SERVERS_ASSET, TOPIC_ASSET
from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.listening.supervising.checks import report_evaluation
from mastodon_pipeline.listening.topic.observation import TopicObservation, observe_topic
from mastodon_pipeline.settings import load_settings

_OWNER = "team:mastodon-pipeline"

mastodon_servers = dg.AssetSpec(
    SERVERS_ASSET,
    group_name="ingestion",
    kinds={"mastodon"},
    owners=[_OWNER],
    description=(
        "The Mastodon servers that are listened to (settings MASTODON_SERVERS and "
        "MASTODON_SERVERS_FILE): their public top-level posts, from their streaming APIs and "
        "public timelines."
    ),
)
mastodon_topic = dg.AssetSpec(
    TOPIC_ASSET,
    deps=[mastodon_servers],
    group_name="ingestion",
    kinds={"kafka"},
    owners=[_OWNER],
    description=(
        "The Kafka topic with one Avro record for each new, edited or deleted toot. Its "
        "observations show the broker's end offsets, rate and newest record, and each listener "
        "run's servers: state, rate, lag, gaps."
    ),
)


@dg.op(
    ins={"after": dg.In(dg.Nothing)},
    description=(
        "Asks the broker for the topic's end offsets and newest record, and records them as an "
        "observation of mastodon_topic. Fails if Kafka does not answer: `mastodon-pipeline doctor` "
        "says why."
    ),
)
def observe_mastodon_topic_op(context: dg.OpExecutionContext) -> None:
    """Observe `mastodon_topic` once."""
    with readable_failures():
        observation = topic_observation(context.instance)
    context.log_event(observation)


@dg.op(
    description=(
        "Evaluates the check all_servers_reporting from the listener runs' reports. Fails only if "
        "the settings are wrong; the check itself may be red while this succeeds."
    ),
)
def check_servers_op(context: dg.OpExecutionContext) -> None:
    """Evaluate `all_servers_reporting`, also when no listener runs to do it."""
    with readable_failures():
        report_evaluation(context.instance)


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Evaluates the check all_servers_reporting, then observes mastodon_topic in the broker. If "
        "it fails, the message names the setting to correct or the service that does not answer."
    ),
)
def observe_mastodon_topic() -> None:
    """Run two ops; the check comes first, because it needs no broker."""
    observe_mastodon_topic_op(after=check_servers_op())


def topic_observation(
    instance: dg.DagsterInstance, request_seconds: float = 20.0
) -> dg.AssetObservation:
    """Ask the broker, and return what Dagster shows of it.

    Raises SettingsError if the settings are wrong, KafkaUnavailable if Kafka does not answer.
    """
    observation = observe_topic(load_settings(), request_seconds)
    return dg.AssetObservation(
        TOPIC_ASSET,
        description="reported by the broker",
        metadata=_metadata(observation, _previous(instance)),
    )


def _metadata(
    observation: TopicObservation, previous: tuple[float, int] | None
) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {
        "end_offset": observation.end_offset,
        "end_offsets": {str(number): end for number, end in observation.end_offsets.items()},
        "dagster/row_count": observation.records,
        "observed_at": dg.MetadataValue.timestamp(observation.observed_at),
    }
    if observation.newest_record_at:
        newest = dg.MetadataValue.timestamp(observation.newest_record_at / 1000)
        metadata["newest_record_at"] = newest
    if previous is not None and observation.observed_at > previous[0]:
        observed_at, end_offset = previous
        minutes = (observation.observed_at - observed_at) / 60
        records_per_minute = (observation.end_offset - end_offset) / minutes
        metadata["records_per_minute"] = round(records_per_minute, 2)
    return metadata


def _previous(instance: dg.DagsterInstance) -> tuple[float, int] | None:
    """Return the time (seconds since 1970) and end offset of the broker's last observation."""
    # The listener runs' observations lie in between.
    for record in instance.fetch_observations(TOPIC_ASSET, limit=100).records:
        observation = record.asset_observation
        if observation and "end_offset" in observation.metadata:
            end_offset = observation.metadata["end_offset"].value
            return record.timestamp, int(str(end_offset))
    return None
