"""`connector_supervisor`: keeps the sink configured, running and making progress."""

import time
from datetime import UTC, datetime, timedelta

import dagster as dg

from mastodon_pipeline.errors import PipelineError, SettingsError
from mastodon_pipeline.event_log import reuse_instance
from mastodon_pipeline.kafka import topic_id
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC
from mastodon_pipeline.landing.health import KAFKA_TIMEOUT_SECONDS, SinkState, connector_health
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.keeping_positions import keep_landed_positions
from mastodon_pipeline.landing.sink_report import save_sink_report
from mastodon_pipeline.landing.supervision import SupervisorMemory, decide
from mastodon_pipeline.settings import Settings, load_settings

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
LONGEST_REPAIR = timedelta(minutes=2)
"""An unfinished run that is older lost its process, and nothing will ever end it; if not, a second
one beside it does no harm."""


@dg.sensor(
    job=kafka_connect_config,
    minimum_interval_seconds=20,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Runs kafka_connect_config if the sink connector is missing, has drifted from its reviewed"
        " config, has failed, is RUNNING without progress while records wait, has put records into"
        " the dead letters, of which it puts the good ones back, or if its control topic was made"
        " again. One repair at a time, with growing pauses. A paused connector is left alone."
        " Copies the listeners' positions into the lake once what they cover has landed."
    ),
)
def connector_supervisor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Check the sink (in less than 10 s), decide, and report what it wanted, saw and did.

    Copying the positions takes some seconds more, each of its requests with a deadline.
    """
    reuse_instance(context)
    memory = SupervisorMemory.from_cursor(context.cursor)
    try:
        settings = load_settings()
        health = connector_health(settings, memory.watermark, time.time())
    except SettingsError as error:
        return dg.SensorResult(skip_reason=str(error), cursor=context.cursor)
    save_sink_report(context.instance, health, time.time())
    if health.state is not SinkState.UNREACHABLE:
        _keep_positions(context, settings)
    control_topic = None if health.state is SinkState.UNREACHABLE else _control_topic_id(settings)
    well = health.state is SinkState.HEALTHY and control_topic == memory.control_topic_id
    in_progress = not well and _repair_in_progress(context.instance)
    decision = decide(health, memory, in_progress, time.time(), control_topic)
    wanted = f"wanted: {settings.sink} sink {settings.connector_name} running as reviewed"
    explanation = f"{wanted}; {decision.explanation}"
    context.log.info(explanation)
    if not decision.repair:
        return dg.SensorResult(skip_reason=explanation, cursor=decision.memory.to_cursor())
    request = dg.RunRequest(
        # Dagster launches a run key only once, ever, so the key holds the time.
        run_key=f"{settings.connector_name}-{health.state}-{decision.memory.requested_at:.3f}",
        run_config=dg.RunConfig(
            {
                "apply_connector_config": {
                    "config": {
                        "restart_tasks": decision.restart_tasks,
                        "put_back": decision.put_back,
                    }
                }
            }
        ),
        tags={"mastodon_pipeline/reason": str(health.state)},
    )
    return dg.SensorResult(run_requests=[request], cursor=decision.memory.to_cursor())


def _keep_positions(context: dg.SensorEvaluationContext, settings: Settings) -> None:
    try:
        keep_landed_positions(settings)
    except PipelineError as error:
        context.log.info(f"the listeners' positions are not copied now: {error}")


def _control_topic_id(settings: Settings) -> str | None:
    """Return the id of the Iceberg sink's control topic; None if there is none or no answer."""
    if settings.sink != "iceberg":
        return None
    try:
        return topic_id(settings, CONTROL_TOPIC, KAFKA_TIMEOUT_SECONDS)
    except PipelineError:
        return None


def _repair_in_progress(instance: dg.DagsterInstance) -> bool:
    unfinished = dg.RunsFilter(
        job_name=kafka_connect_config.name,
        statuses=UNFINISHED,
        created_after=datetime.now(UTC) - LONGEST_REPAIR,
    )
    return bool(instance.get_run_records(unfinished, limit=1))
