"""Whatever is killed while toots come: listening again within a minute, once, and nothing lost.

The tests share one pipeline and run in this order; the last one compares the tables with what the
simulated servers know they published during all of it.
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
from mastodon_pipeline.settings import Server, load_settings
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
"""A run that woke up has to see within so long that it was replaced; it looks every 5 s."""


def test_kill_of_the_run(scene: Scene) -> None:
    """kill -9 of the listener's process."""
    before = scene.listener()
    scene.watch_streams()
    killed_at = time.monotonic()
    scene.listener_process().kill()
    scene.replaced(before)
    scene.measure("kill -9 of the run", scene.heard_again(killed_at))
    assert len(scene.listeners()) == 1
    assert scene.most_streams_at_once() == 1


def test_reload_of_the_code_location(scene: Scene) -> None:
    """The old run lives on with its old code; no second one is started beside it."""
    before = scene.listener()
    scene.watch_streams()
    scene.ask_dagster(RELOAD)
    scene.measure("reload of the code location", scene.heard_again(time.monotonic()))
    scene.stays([before], 20)
    assert scene.most_streams_at_once() <= 1


def test_kill_of_the_daemon(scene: Scene) -> None:
    """kill -9 of Dagster's daemon: the run listens on, and the next daemon leaves it alone."""
    before = scene.listener()
    scene.watch_streams()
    killed_at = time.monotonic()
    scene.kill("dagster-daemon")
    scene.measure("kill -9 of the daemon", scene.heard_again(killed_at))
    scene.wait(lambda: _daemon_ticks(scene, killed_at), "a tick of the next daemon", 90)
    scene.measure("  until the next daemon's first tick", time.monotonic() - killed_at)
    scene.stays([before], 12)
    assert scene.most_streams_at_once() <= 1


def test_a_hung_run_is_replaced_and_stops_when_it_wakes_up(scene: Scene) -> None:
    """SIGSTOP for longer than the stale limit, then SIGCONT: it must not produce beside the next.

    What the servers had sent into its socket meanwhile it may still read; the tables hold such
    toots once.
    """
    before, process = scene.listener(), scene.listener_process()
    stopped_at = time.monotonic()
    process.suspend()
    try:
        scene.replaced(before)
        scene.measure(
            "SIGSTOP of the run",
            scene.heard_again(stopped_at),
            f"the stale limit is {STALE_HEARTBEAT_SECONDS:g} s",
        )
        successor = scene.listener()
        doubled = scene.doubled()
        scene.watch_streams()
    finally:
        woken_at = time.monotonic()
        process.resume()
    psutil.wait_procs([process], timeout=FENCE_SECONDS)
    assert not process.is_running(), "the woken run still listens"
    stopped_itself = time.monotonic() - woken_at
    scene.stays([successor], 10)
    scene.doubled_by_the_woken = scene.doubled() - doubled
    scene.measure(
        "SIGCONT: until it has stopped itself",
        stopped_itself,
        f"it streamed {scene.doubled_by_the_woken} toots a second time",
    )
    scene.watch_streams()
    scene.heard_again(time.monotonic())
    assert scene.most_streams_at_once() <= 1


def test_kill_of_the_broker(scene: Scene) -> None:
    """kill -9 of Kafka: the run waits with what it has, and goes on."""
    before = scene.listener()
    killed_at = time.monotonic()
    scene.kill("kafka")
    scene.measure("kill -9 of the Kafka broker", scene.heard_again(killed_at))
    assert scene.listener() == before


def test_kill_of_connect(scene: Scene) -> None:
    """kill -9 of Kafka Connect: listening goes on, and so does landing."""
    killed_at = time.monotonic()
    scene.kill("connect")
    scene.measure("kill -9 of Kafka Connect", scene.heard_again(killed_at))
    written = dict(scene.topic.offsets)

    def landed() -> bool:
        committed = {one.partition: one.committed for one in sink_progress(load_settings())}
        return all((committed.get(number) or 0) >= end for number, end in written.items())

    scene.wait(landed, "the same toots landed", 120, killed_at)
    scene.measure("  until they have landed", time.monotonic() - killed_at)


def test_kill_of_everything(scene: Scene) -> None:
    """kill -9 of every process at once, as a power cut would, then `up`."""
    before = scene.listener()
    killed = scene.kill_everything()
    killed_at = time.monotonic()
    scene.up()
    ready_at = time.monotonic()
    scene.replaced(before)
    scene.measure(
        "kill -9 of everything",
        scene.heard_again(ready_at),
        f"after `up` was ready; {killed} processes, {ready_at - killed_at:.0f} s to be ready",
    )
    assert len(scene.listeners()) == 1


def test_terminate_in_the_ui(scene: Scene) -> None:
    """It ends within seconds and stays down; launched by hand it listens again."""
    before = scene.listener()
    terminated_at = time.monotonic()
    scene.ask_dagster(TERMINATE, run=before)
    scene.wait(lambda: _state(scene, before) == "canceled", "the end of the run", 30)
    scene.measure("Terminate: until it has ended", time.monotonic() - terminated_at)
    scene.stays([], 20)
    launched_at = time.monotonic()
    launched = scene.ask_dagster(LAUNCH)["launchRun"]["__typename"]
    assert launched == "LaunchRunSuccess"
    scene.measure("launched by hand after Terminate", scene.heard_again(launched_at))
    assert len(scene.listeners()) == 1


def test_more_groups_and_fewer(scene: Scene) -> None:
    """Servers go from one group's run to three and back, and no server ever has two streams."""
    servers = load_settings().servers()
    for count in (3, 1):
        wanted = spread(servers, count)
        scene.watch_streams()
        changed_at = time.monotonic()
        scene.set("LISTENER_GROUPS", str(count))
        scene.wait(partial(_settled, scene, wanted), f"{count} groups", 120)
        used = sum(bool(group) for group in wanted.values())
        scene.measure(
            f"LISTENER_GROUPS={count}: until all have their servers",
            time.monotonic() - changed_at,
            f"{used} runs",
        )
        scene.heard_again(time.monotonic())
        assert scene.most_streams_at_once() <= 1


def test_every_toot_is_in_the_tables_once(scene: Scene) -> None:
    """Through all of that: toot by toot what the servers published, none missing, none twice.

    And no stream brought a toot twice, but to the run that woke up.
    """
    truth = {toot.uri: (toot.server, toot.created_at) for toot in scene.stop_publishing()}
    ended_at = time.monotonic()
    scene.wait(lambda: truth.keys() <= scene.topic.uris, "every toot in the topic", 60)
    scene.wait(lambda: len(scene.tables()) >= len(truth), "every toot in the tables", 180)
    found = {uri: (server, iso(at)) for uri, (server, at) in scene.tables().items()}
    assert found == truth
    assert scene.doubled() == scene.doubled_by_the_woken
    scene.measure(
        "every toot in `toots`", time.monotonic() - ended_at, f"after the last; {len(truth)} toots"
    )


def _state(scene: Scene, run_id: str) -> str:
    return next(r.state for r in listener_runs(scene.instance, DEFAULT_GROUP) if r.run_id == run_id)


def _settled(scene: Scene, wanted: dict[str, tuple[Server, ...]]) -> bool:
    """Whether each group's run follows the wanted servers, and no other group has a run."""
    noted = load_assignments(scene.instance, ALL_GROUPS)
    for group in ALL_GROUPS:
        servers, assignment = wanted.get(group, ()), noted[group]
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
    """Whether the supervisor's sensor was evaluated since."""
    since = time.time() - (time.monotonic() - killed_at)
    return any(
        (getattr(state.instigator_data, "last_tick_timestamp", None) or 0) > since + 1
        for state in scene.instance.all_instigator_state()
        if state.name == "listener_supervisor"
    )
