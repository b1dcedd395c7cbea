"""`listener_supervisor`: keeps the running listeners equal to the configured ones."""

import time

import dagster as dg

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.supervising.groups import (
    Assignment,
    group_names,
    hand_over,
    spread,
)
from mastodon_pipeline.listening.supervising.rules import Decision, SeenRun, decide, living
from mastodon_pipeline.listening.supervising.runs import (
    GROUP_TAG,
    assign,
    assignments_of,
    groups_with_runs,
    seen_runs,
)
from mastodon_pipeline.settings import Settings, load_settings


@dg.sensor(
    job=mastodon_listener,
    # After kill -9, a look each 5 s, and the 7 s that Dagster takes to start a run.
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "One run for each listener group: starts it where none runs, replaces one that failed or "
        "lost its heartbeat, and hands changed servers to the running ones. After a Terminate the "
        "group stays down until its run is executed again or this sensor is switched off and on."
    ),
)
def listener_supervisor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Sees, decides (`supervision.decide`) and acts on Dagster's storage alone; never on Kafka.

    Each tick says of each group what was wanted, seen and done: where it starts nothing as the
    reason for skipping, else in the tick's log.
    """
    try:
        settings = load_settings()
        requests, lines = supervise(context.instance, settings, context.last_sensor_start_time)
    except SettingsError as error:
        return dg.SkipReason(f"the settings are wrong, running listeners go on: {error}")
    if not settings.servers():
        lines.append("wanted: no servers. Set MASTODON_SERVERS, or MASTODON_SERVERS_FILE")
    if not requests:
        # Nothing in the log: Dagster keeps a file for each tick that logs, for ever.
        return dg.SkipReason(" | ".join(lines))
    for line in lines:
        context.log.info(line)
    return dg.SensorResult(run_requests=requests)


def supervise(
    instance: dg.DagsterInstance, settings: Settings, sensor_started_at: float | None
) -> tuple[list[dg.RunRequest], list[str]]:
    """Makes the groups' runs equal to what is wanted, as far as one step can; and says why.

    The runs to start, and a line for each group. Raises SettingsError.
    """
    now = time.time()
    wanted = spread(settings.servers(), settings.listener_groups)
    # Lowered counts leave groups behind: those with a run are seen to until it has ended.
    names = group_names(settings.listener_groups)
    groups = [*names, *sorted(groups_with_runs(instance) - set(names))]
    runs = {group: seen_runs(instance, group) for group in groups}
    noted = assignments_of(instance, groups)
    before = {group: noted[group] or Assignment() for group in groups}
    after = hand_over(wanted, before, _following(runs, now), now)
    requests, lines = [], []
    for group in groups:
        if after[group] != before[group]:
            assign(instance, group, after[group])
        servers = len(after[group].servers)
        decision = decide(runs[group], now, sensor_started_at, servers)
        _mark(instance, decision)
        withheld = len(wanted.get(group, ())) - servers
        lines.append(f"wanted: {group}, {_servers(servers, withheld)}. {decision.explanation}")
        if decision.start:
            # Dagster skips a used run key for ever, so it holds the time.
            key = f"{group}-{now:.3f}"
            requests.append(dg.RunRequest(run_key=key, tags={GROUP_TAG: group}))
    return requests, lines


def _following(runs: dict[str, list[SeenRun]], now: float) -> dict[str, int | None]:
    """The groups with a live run, and what version of their assignment it says it follows."""
    return {
        group: alive[0].follows for group, those in runs.items() if (alive := living(those, now))
    }


def _mark(instance: dg.DagsterInstance, decision: Decision) -> None:
    for run_id, reason in decision.failed:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_failed(run, f"listener_supervisor: {reason}")
    for run_id, reason in decision.canceled:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_canceled(run, f"listener_supervisor: {reason}")


def _servers(count: int, withheld: int) -> str:
    later = f", and {withheld} more once their former group has let go of them" if withheld else ""
    return f"{count} servers{later}"
