"""`listener_supervisor`: keeps the running listeners equal to the configured ones."""

import time

import dagster as dg

from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.listener_runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    SERVERS_TAG,
    seen_runs,
    want,
)
from mastodon_pipeline.listening.supervision import decide, servers_hash
from mastodon_pipeline.settings import Server, SettingsError, load_settings


@dg.sensor(
    job=mastodon_listener,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Starts the listener where none runs, replaces one that failed or lost its heartbeat, and "
        "applies a changed list of servers. After a Terminate it stays down until the job is "
        "launched by hand or this sensor is switched off and on."
    ),
)
def listener_supervisor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Sees, decides (`supervision.decide`) and acts on Dagster's storage alone; never on Kafka."""
    try:
        servers = load_settings().servers()
    except SettingsError as error:
        return dg.SkipReason(f"the settings are wrong, running listeners go on: {error}")
    if not servers:
        want(context.instance, DEFAULT_GROUP, "")
        return dg.SkipReason("wanted: no servers. Set MASTODON_SERVERS, or MASTODON_SERVERS_FILE")
    result, explanation = supervise(
        context.instance, DEFAULT_GROUP, servers, context.last_sensor_start_time
    )
    context.log.info(explanation)
    return result


def supervise(
    instance: dg.DagsterInstance,
    group: str,
    servers: tuple[Server, ...],
    sensor_started_at: float | None,
) -> tuple[dg.SensorResult | dg.SkipReason, str]:
    """Makes one group's runs equal to what is wanted, as far as one step can; and says why."""
    wanted = servers_hash(servers)
    want(instance, group, wanted)
    decision = decide(seen_runs(instance, group), time.time(), sensor_started_at)
    for run_id, reason in decision.failed:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_failed(run, f"listener_supervisor: {reason}")
    for run_id, reason in decision.canceled:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_canceled(run, f"listener_supervisor: {reason}")
    explanation = (
        f"wanted: group {group}, {len(servers)} servers ({wanted[:8]}). {decision.explanation}"
    )
    if not decision.start:
        return dg.SkipReason(explanation), explanation
    return dg.SensorResult(run_requests=[_request(group, servers, wanted)]), explanation


def _request(group: str, servers: tuple[Server, ...], wanted: str) -> dg.RunRequest:
    followed = [
        {"base_url": server.base_url, "feed": server.feed, "token_env": server.token_env}
        for server in servers
    ]
    return dg.RunRequest(
        # Dagster skips a used run key for ever, so it holds the time.
        run_key=f"{group}-{wanted}-{time.time():.3f}",
        run_config={
            "ops": {"listen_to_servers": {"config": {"group": group, "servers": followed}}}
        },
        tags={GROUP_TAG: group, SERVERS_TAG: wanted},
    )
