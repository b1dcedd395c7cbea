"""`listener_supervisor` keeps the set of running listeners equal to the configured one.

`mastodon_topic_sensor` observes the topic.
"""

import time

import dagster as dg

from mastodon_pipeline.check_events import check_event
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.event_log import reuse_instance
from mastodon_pipeline.listening.assets import observe_mastodon_topic, topic_observation
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.supervising.checks import CHECK, evaluate
from mastodon_pipeline.listening.supervising.groups import (
    Assignment,
    group_names,
    hand_over,
    spread,
)
from mastodon_pipeline.listening.supervising.observing import RunObserver
from mastodon_pipeline.listening.supervising.rules import (
    Decision,
    ListenerRun,
    decide,
    live_runs,
)
from mastodon_pipeline.listening.supervising.runs import (
    GROUP_TAG,
    groups_with_runs,
    listener_runs,
    load_assignments,
    save_assignment,
)
from mastodon_pipeline.settings import Settings, load_settings

TICK_SECONDS = 5
"""After a kill -9, a run is back within the 20 s of a stale heartbeat, two ticks, and the 7 s that
Dagster takes to start a run."""
OBSERVATION_SECONDS = 600
REQUEST_SECONDS = 10.0
"""Of the broker, four in all; a tick has a minute."""
_observer = RunObserver()
"""Ticks run in the code server's process, which remembers what the former ones saw."""


@dg.sensor(
    job=mastodon_listener,
    minimum_interval_seconds=TICK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Keeps one run of mastodon_listener for each listener group: starts it if none runs, "
        "replaces it if it failed or its heartbeat stopped, and passes changes of the configured "
        "servers to it. After a Terminate the group stays down until its run is re-executed or "
        "this sensor is switched off and on. Each tick says what was wanted, seen and done for "
        "each group; if the settings are wrong, it names the setting and running listeners go on."
    ),
)
def listener_supervisor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Observe, decide (`rules.decide`) and act on Dagster's storage alone, never on Kafka.

    Each tick says for each group what was wanted, seen and done: as the reason for skipping if no
    run is started, else in the tick's log.
    """
    try:
        settings = load_settings()
        reuse_instance(context)
        requests, lines = supervise(
            context.instance, settings, context.last_sensor_start_time, _observer
        )
    except SettingsError as error:
        return dg.SkipReason(f"the settings are wrong, running listeners go on: {error}")
    if not settings.servers():
        lines.append("wanted: no servers. Set MASTODON_SERVERS, or MASTODON_SERVERS_FILE")
    if not requests:
        # Not in the log: Dagster keeps a file for each tick that logs, forever.
        return dg.SkipReason(" | ".join(lines))
    for line in lines:
        context.log.info(line)
    return dg.SensorResult(run_requests=requests)


@dg.sensor(
    job=observe_mastodon_topic,
    minimum_interval_seconds=OBSERVATION_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Observes mastodon_topic in the broker and evaluates the check all_servers_reporting "
        "every ten minutes. If that fails, it requests a run of observe_mastodon_topic, whose "
        "failure says why."
    ),
)
def mastodon_topic_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Observe and check in this tick, or request a run: a run takes 6 s of CPU, most to start.

    Not in the first tick after a while without any: listeners have not started or reported yet.
    """
    reuse_instance(context)
    now = time.time()
    cursor, last_tick = f"{now:.0f}", float(context.cursor or 0)
    if now - last_tick > 2 * OBSERVATION_SECONDS:
        return dg.SensorResult(skip_reason="listeners get ten minutes to start", cursor=cursor)
    try:
        check = check_event(evaluate(context.instance), CHECK)
        observation = topic_observation(context.instance, REQUEST_SECONDS)
    except Exception as error:  # whatever it is, a run shows it, and its failures are an alert
        context.log.warning(f"a run observes the topic, since it failed here: {error}")
        return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=cursor)
    return dg.SensorResult(
        asset_events=[check, observation], skip_reason=check.description, cursor=cursor
    )


def supervise(
    instance: dg.DagsterInstance,
    settings: Settings,
    sensor_started_at: float | None,
    observer: RunObserver,
) -> tuple[list[dg.RunRequest], list[str]]:
    """Take one step towards the wanted runs and assignments.

    `observer` has seen the runs at former steps. Return the runs to start, and a line for each
    group that says what was wanted, seen and done.
    Raises SettingsError if the servers cannot be read.
    """
    now = time.time()
    wanted = spread(settings.servers(), settings.listener_groups)
    # If their number was lowered, former groups with a run are supervised until it has ended.
    names = group_names(settings.listener_groups)
    groups = [*names, *sorted(groups_with_runs(instance) - set(names))]
    runs = {group: listener_runs(instance, group, observer) for group in groups}
    observer.forget_all_but(run.run_id for group_runs in runs.values() for run in group_runs)
    saved = load_assignments(instance, groups)
    before = {group: saved[group] or Assignment() for group in groups}
    after = hand_over(wanted, before, _acknowledged(runs, now), now)
    requests, lines = [], []
    for group in groups:
        if after[group] != before[group]:
            save_assignment(instance, group, after[group])
        servers = len(after[group].servers)
        decision = decide(runs[group], now, sensor_started_at, servers)
        _mark_lost_runs(instance, decision)
        withheld = len(wanted.get(group, ())) - servers
        lines.append(f"wanted: {group}, {_count(servers, withheld)}. {decision.explanation}")
        if decision.start:
            # With the time, because Dagster skips a run key that was ever used.
            key = f"{group}-{now:.3f}"
            requests.append(dg.RunRequest(run_key=key, tags={GROUP_TAG: group}))
    return requests, lines


def _acknowledged(runs: dict[str, list[ListenerRun]], now: float) -> dict[str, int | None]:
    """Return the groups with a live run, and the assignment version that it says it follows."""
    return {
        group: live[0].assignment_version
        for group, group_runs in runs.items()
        if (live := live_runs(group_runs, now))
    }


def _mark_lost_runs(instance: dg.DagsterInstance, decision: Decision) -> None:
    for run_id, reason in decision.failed:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_failed(run, f"listener_supervisor: {reason}")
    for run_id, reason in decision.canceled:
        if (run := instance.get_run_by_id(run_id)) is not None:
            instance.report_run_canceled(run, f"listener_supervisor: {reason}")


def _count(servers: int, withheld: int) -> str:
    later = f", and {withheld} more once their former group has released them" if withheld else ""
    return f"{servers} servers{later}"
