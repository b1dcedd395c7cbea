"""`landed_toots`: the sink's files, which Kafka Connect writes and Dagster observes and checks."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from mastodon_pipeline.asset_keys import LANDED_ASSET, TOPIC_ASSET
from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.landing.completeness import Completeness, landing_completeness
from mastodon_pipeline.landing.dead_letters import format_seconds
from mastodon_pipeline.landing.landed_index import LandedToots, landed_toots
from mastodon_pipeline.landing.sink_progress import PartitionProgress, sink_progress
from mastodon_pipeline.settings import load_settings

EXAMPLES_SHOWN = 20

landed_toots_spec = dg.AssetSpec(
    LANDED_ASSET,
    deps=[TOPIC_ASSET],
    group_name="ingestion",
    kinds={"kafkaconnect", "parquet", "s3"},
    owners=["team:mastodon-pipeline"],
    description=(
        "The topic's records as Parquet in the object store, below `topics/<topic>/`, with their"
        " Kafka coordinates. Any file may hold records of any post hour. Nothing missing,"
        " duplicates allowed. Written by Kafka Connect; observed here: files, rows, bytes, newest"
        " hour, sink lag."
    ),
)


@dg.op(
    description="Counts what has landed, and records it as an observation of landed_toots.",
    tags={"kind": "duckdb"},
)
def observe_landed_toots_op(context: dg.OpExecutionContext, lake: LakeResource) -> None:
    """Observe `landed_toots` once."""
    with readable_failures(), lake.open() as opened:
        progress = sink_progress(load_settings())
        landed = landed_toots(opened)
    metadata = _observation_metadata(landed, progress)
    context.log_event(dg.AssetObservation(LANDED_ASSET, metadata=metadata))


@dg.job(executor_def=dg.in_process_executor, description="Observes the asset landed_toots.")
def observe_landed_toots() -> None:
    """One op: the observation."""
    observe_landed_toots_op()


landed_toots_observation_schedule = dg.ScheduleDefinition(
    name="landed_toots_observation_schedule",
    job=observe_landed_toots,
    cron_schedule="11,41 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Observes the landed files every half hour.",
)


@dg.asset_check(
    asset=LANDED_ASSET,
    description=(
        "Every offset that the sink has committed, or that Kafka no longer holds, is in the"
        " Parquet, or is no record that can land (a tombstone, a transaction marker). No record"
        " of the topic is in the dead letters unless it was put back or dismissed."
    ),
)
def landed_toots_complete(lake: LakeResource) -> dg.AssetCheckResult:
    """Fail if a record was lost between Kafka and the object store."""
    with readable_failures(), lake.open() as opened:
        completeness = landing_completeness(load_settings(), opened)
    return _check_result(completeness)


landed_toots_check = dg.define_asset_job(
    "landed_toots_check",
    selection=dg.AssetSelection.checks(landed_toots_complete),
    executor_def=dg.in_process_executor,
    description="Checks that every record of the topic has landed.",
)

landed_toots_check_schedule = dg.ScheduleDefinition(
    name="landed_toots_check_schedule",
    job=landed_toots_check,
    cron_schedule="7 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Checks the landed toots for completeness every hour.",
)


def _observation_metadata(
    landed: LandedToots, progress: tuple[PartitionProgress, ...]
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "files": landed.files,
        "files opened": landed.opened,
        "dagster/row_count": landed.rows,
        "bytes": landed.bytes,
        "hours": landed.hours,
        "sink_lag": sum(partition.lag for partition in progress),
        "sink_lag_by_partition": {
            str(partition.partition): partition.lag for partition in progress
        },
    }
    if landed.newest_hour is not None:
        metadata["newest_hour"] = dg.MetadataValue.timestamp(landed.newest_hour)
    if landed.unreadable:
        metadata["unreadable files"] = [
            f"{file.path}: {file.reason}" for file in landed.unreadable[:EXAMPLES_SHOWN]
        ]
    if landed.newest_file is not None:
        metadata["newest_file"] = dg.MetadataValue.timestamp(landed.newest_file)
    return metadata


def _check_result(completeness: Completeness) -> dg.AssetCheckResult:
    checked = completeness.checked
    return dg.AssetCheckResult(
        passed=completeness.complete,
        severity=dg.AssetCheckSeverity.ERROR,
        description=(
            f"all {checked} committed offsets are accounted for{_but_for(completeness)}"
            if completeness.complete
            else "; ".join(_losses(completeness))
        ),
        metadata={
            "missing": completeness.missing,
            "missing_examples": [
                f"partition {partition}, offset {offset}"
                for partition, offset in completeness.examples[:EXAMPLES_SHOWN]
            ],
            "checked": checked,
            "landed": completeness.landed,
            "dead_lettered": completeness.dead_lettered,
            **_since(completeness),
            "lost": completeness.lost,
            "lost_examples": [
                f"partition {partition}, offset {offset}"
                for partition, offset in completeness.lost_examples[:EXAMPLES_SHOWN]
            ],
            "cannot_land": completeness.cannot_land,
            "lost_with_topics": completeness.lost_with_topics,
            "accepted": completeness.accepted,
            **(
                {"topic_began": dg.MetadataValue.timestamp(completeness.began)}
                if completeness.began
                else {}
            ),
            "in_flight": completeness.in_flight,
            "end_offsets": {
                str(partition.partition): partition.end for partition in completeness.partitions
            },
            "committed_offsets": {
                str(partition.partition): partition.committed
                for partition in completeness.partitions
            },
        },
    )


def _losses(completeness: Completeness) -> Iterator[str]:
    if completeness.missing:
        yield (
            f"{completeness.missing} of {completeness.checked} committed records are not in the"
            " object store"
        )
    if completeness.dead_lettered:
        since = completeness.dead_lettered_since
        yield (
            f"{completeness.dead_lettered} records are in the dead letters instead"
            f"{f', the first since {format_seconds(since)} UTC' if since else ''}:"
            " mastodon-pipeline replay --dead-letters"
        )
    if completeness.lost:
        yield (
            f"{completeness.lost} records are lost: Kafka's retention removed them before the sink"
            " had read them"
        )
    if completeness.lost_with_topics and not completeness.read_again:
        yield (
            f"{completeness.lost_with_topics} records are lost with an earlier topic of this name:"
            f" they had not landed when it was gone{_topic_began(completeness)}"
        )


def _but_for(completeness: Completeness) -> str:
    accepted = min(completeness.offsets_lost, completeness.accepted)
    parts = [f", but for {accepted} whose loss is accepted" if accepted else ""]
    if completeness.read_again:
        parts.append(
            f"; {completeness.lost_with_topics} of an earlier topic had not landed when it was"
            " gone, and were read again from the servers"
        )
    return "".join([*parts, _topic_began(completeness)])


def _topic_began(completeness: Completeness) -> str:
    if completeness.began is None:
        return ""
    return (
        f"; the topic is a new one since {completeness.began:%F %T} UTC, and what landed of an"
        " earlier one stays"
    )


def _since(completeness: Completeness) -> dict[str, Any]:
    since = completeness.dead_lettered_since
    return {"dead_lettered_since": dg.MetadataValue.timestamp(since)} if since else {}
