"""Kill parts of a busy pipeline: it listens again within a minute, never twice, and loses nothing.

The tests share one pipeline and run in this order; the last one compares the tables with what the
simulated servers published during all of them.
"""

import time
from functools import partial

import psutil
import pytest

from infra.simulator.status import iso
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS, spread
from mastodon_pipeline.listening.supervising.rules import STALE_HEARTBEAT_SECONDS
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    listener_runs,
    load_assignments,
)
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.chaos.scene import Scene

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

RELOAD = """mutation {
    reloadRepositoryLocation(repositoryLocationName: "mastodon_pipeline") { __typename }
}"""
TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"
LAUNCH = """mutation { launchRun(executionParams: {
    selector: {
        repositoryLocationName: "mastodon_pipeline"
        repositoryName: "__repository__"
        jobName: "mastodon_listener"
    }
    mode: "default"
}) { __typename } }"""
FENCE_SECONDS = 20.0
"""Within this time a resumed run has to stop after it was replaced; it checks every 5 s."""


def test_killed_listener_run_is_replaced(scene: Scene) -> None:
    """SIGKILL to the listener's process. Shows G4."""
    before = scene.listener()
    scene.reset_stream_count()
    killed_at = time.monotonic()
    scene.listener_process().kill()
    scene.wait_until_replaced(before)
    scene.measure("kill -9 of the run", scene.wait_for_recovery(killed_at))
    assert len(scene.listeners()) == 1
    assert scene.most_streams_at_once() == 1


def test_listener_run_survives_a_reload_of_the_code_location(scene: Scene) -> None:
    """It goes on with its old code; no second one is started beside it."""
    before = scene.listener()
    scene.reset_stream_count()
    scene.query_dagster(RELOAD)
    scene.measure("reload of the code location", scene.wait_for_recovery(time.monotonic()))
    scene.assert_listeners_stay([before], 20)
    assert scene.most_streams_at_once() <= 1


def test_listener_run_survives_a_kill_of_the_daemon(scene: Scene) -> None:
    """SIGKILL to Dagster's daemon: the run listens on, and the next daemon leaves it alone."""
    before = scene.listener()
    scene.reset_stream_count()
    killed_at = time.monotonic()
    scene.kill("dagster-daemon")
    scene.measure("kill -9 of the daemon", scene.wait_for_recovery(killed_at))
    scene.wait_until(lambda: _daemon_ticks(scene, killed_at), "a tick of the next daemon", 90)
    scene.measure("  until the next daemon's first tick", time.monotonic() - killed_at)
    scene.assert_listeners_stay([before], 12)
    assert scene.most_streams_at_once() <= 1


def test_hung_listener_run_is_replaced_and_stops_when_resumed(scene: Scene) -> None:
    """SIGSTOP for longer than the stale limit, then SIGCONT: it must not produce beside the next.

    It may still read what the servers had sent into its socket meanwhile; the tables hold such
    toots once. Shows G4.
    """
    before, process = scene.listener(), scene.listener_process()
    stopped_at = time.monotonic()
    process.suspend()
    try:
        scene.wait_until_replaced(before)
        scene.measure(
            "SIGSTOP of the run",
            scene.wait_for_recovery(stopped_at),
            f"the stale limit is {STALE_HEARTBEAT_SECONDS:g} s",
        )
        successor = scene.listener()
        duplicates = scene.duplicates()
        scene.reset_stream_count()
    finally:
        resumed_at = time.monotonic()
        process.resume()
    psutil.wait_procs([process], timeout=FENCE_SECONDS)
    assert not process.is_running(), "the resumed run still listens"
    stopped_itself = time.monotonic() - resumed_at
    scene.assert_listeners_stay([successor], 10)
    scene.duplicates_by_resumed_run = scene.duplicates() - duplicates
    scene.measure(
        "SIGCONT: until it has stopped itself",
        stopped_itself,
        f"it streamed {scene.duplicates_by_resumed_run} toots a second time",
    )
    scene.reset_stream_count()
    scene.wait_for_recovery(time.monotonic())
    assert scene.most_streams_at_once() <= 1


def test_listener_run_survives_a_kill_of_the_broker(scene: Scene) -> None:
    """SIGKILL to Kafka: the run waits with what it has read, and goes on."""
    before = scene.listener()
    killed_at = time.monotonic()
    scene.kill("kafka")
    scene.measure("kill -9 of the Kafka broker", scene.wait_for_recovery(killed_at))
    assert scene.listener() == before


def test_landing_recovers_from_a_kill_of_connect(scene: Scene) -> None:
    """SIGKILL to Kafka Connect: listening goes on, and then so does landing. Shows G11."""
    killed_at = time.monotonic()
    scene.kill("connect")
    scene.measure("kill -9 of Kafka Connect", scene.wait_for_recovery(killed_at))
    written = dict(scene.topic.offsets)

    def landed() -> bool:
        committed = {p.partition: p.committed for p in sink_progress(load_settings())}
        return all((committed.get(number) or 0) >= end for number, end in written.items())

    scene.wait_until(landed, "the same toots landed", 120, killed_at)
    scene.measure("  until they have landed", time.monotonic() - killed_at)


def test_pipeline_recovers_from_a_kill_of_everything(scene: Scene) -> None:
    """SIGKILL to every process at once, as in a power cut, then `up`. Shows G4."""
    before = scene.listener()
    killed = scene.kill_everything()
    killed_at = time.monotonic()
    scene.up()
    ready_at = time.monotonic()
    scene.wait_until_replaced(before)
    scene.measure(
        "kill -9 of everything",
        scene.wait_for_recovery(ready_at),
        f"after `up` was ready; {killed} processes, {ready_at - killed_at:.0f} s to be ready",
    )
    assert len(scene.listeners()) == 1


def test_terminated_listener_run_stays_down_until_launched_by_hand(scene: Scene) -> None:
    """Terminated in the UI it ends within seconds, and no sensor starts another."""
    before = scene.listener()
    terminated_at = time.monotonic()
    scene.query_dagster(TERMINATE, run=before)
    scene.wait_until(lambda: _state(scene, before) == "canceled", "the end of the run", 30)
    scene.measure("Terminate: until it has ended", time.monotonic() - terminated_at)
    scene.assert_listeners_stay([], 20)
    launched_at = time.monotonic()
    launched = scene.query_dagster(LAUNCH)["launchRun"]["__typename"]
    assert launched == "LaunchRunSuccess"
    scene.measure("launched by hand after Terminate", scene.wait_for_recovery(launched_at))
    assert len(scene.listeners()) == 1


def test_servers_change_groups_without_a_second_stream(scene: Scene) -> None:
    """From one group's run to three and back, and no server ever has two streams. Shows G5."""
    servers = load_settings().servers()
    for count in (3, 1):
        wanted = spread(servers, count)
        scene.reset_stream_count()
        changed_at = time.monotonic()
        scene.set_setting("LISTENER_GROUPS", str(count))
        scene.wait_until(partial(_settled, scene, wanted), f"{count} groups", 120)
        used = sum(bool(group) for group in wanted.values())
        scene.measure(
            f"LISTENER_GROUPS={count}: until all have their servers",
            time.monotonic() - changed_at,
            f"{used} runs",
        )
        scene.wait_for_recovery(time.monotonic())
        assert scene.most_streams_at_once() <= 1


def test_every_toot_is_in_the_tables_once(scene: Scene) -> None:
    """After all of the above: exactly the toots that the servers published.

    And no stream brought a toot twice, except to the run that was resumed. Shows G1 and G12.
    """
    truth = {toot.uri: (toot.server, toot.created_at) for toot in scene.stop_publishing()}
    ended_at = time.monotonic()
    scene.wait_until(lambda: truth.keys() <= scene.topic.uris, "every toot in the topic", 60)
    scene.wait_until(lambda: len(scene.tables()) >= len(truth), "every toot in the tables", 180)
    tables = {uri: (server, iso(at)) for uri, (server, at) in scene.tables().items()}
    assert tables == truth
    assert scene.duplicates() == scene.duplicates_by_resumed_run
    scene.measure(
        "every toot in `toots`", time.monotonic() - ended_at, f"after the last; {len(truth)} toots"
    )


def _state(scene: Scene, run_id: str) -> str:
    return next(r.state for r in listener_runs(scene.instance, DEFAULT_GROUP) if r.run_id == run_id)


def _settled(scene: Scene, wanted: dict[str, tuple[Server, ...]]) -> bool:
    """Return whether each group's run follows the wanted servers, and no other group has one."""
    assignments = load_assignments(scene.instance, ALL_GROUPS)
    for group in ALL_GROUPS:
        servers, assignment = wanted.get(group, ()), assignments[group]
        running = [run for run in listener_runs(scene.instance, group) if run.active]
        if not servers and running:
            return False
        if servers and (
            assignment is None
            or assignment.servers != servers
            or not any(run.assignment_version == assignment.version for run in running)
        ):
            return False
    return True


def _daemon_ticks(scene: Scene, killed_at: float) -> bool:
    """Return whether the supervisor's sensor was evaluated since."""
    since = time.time() - (time.monotonic() - killed_at)
    return any(
        (getattr(state.instigator_data, "last_tick_timestamp", None) or 0) > since + 1
        for state in scene.instance.all_instigator_state()
        if state.name == "listener_supervisor"
    )
