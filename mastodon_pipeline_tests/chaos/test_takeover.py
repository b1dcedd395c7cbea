"""Who listens when: one run takes over from another, and none listens beside it.

The tests share one pipeline under load. What happens by chance is in `test_chaos`; what is asked
here needs the right moment.
"""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from infra.native_stack.processes import wait_until_ended
from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS, spread
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    last_heartbeat,
    listener_runs,
    load_assignments,
)
from mastodon_pipeline.servers import Server
from mastodon_pipeline_tests.chaos.pipeline import Pipeline, running_pipeline
from mastodon_pipeline_tests.chaos.topic_watch import TopicWatch
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.takeover]

TOOTS_PER_SECOND = 3.0
RECOVERY_SECONDS = 60.0
"""Within this time every server is listened to again (design invariant 2)."""
FENCE_SECONDS = 20.0
"""Within this time a resumed run has to stop after it was replaced; it checks every 5 s."""
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


class Scene:
    """A pipeline under load, and what it brings into the topic."""

    def __init__(self, pipeline: Pipeline, topic: TopicWatch) -> None:
        self.pipeline = pipeline
        self.topic = topic

    def query_dagster(self, query: str, **variables: object) -> Any:
        """Return the data of a GraphQL query to Dagster, as the UI sends them."""
        url = f"{self.pipeline.stack.addresses.dagster_url}/graphql"
        body = {"query": query, "variables": variables}
        response = httpx.post(url, json=body, timeout=120).raise_for_status().json()
        assert "errors" not in response, response
        return response["data"]

    def listeners(self) -> list[str]:
        """Return the ids of the listener runs that Dagster shows as started."""
        runs = listener_runs(self.pipeline.instance, DEFAULT_GROUP)
        return [run.run_id for run in runs if run.state == "started"]

    def listener(self) -> str:
        """Return the id of the only run that listens."""
        [run_id] = self.listeners()
        return run_id

    def set_setting(self, name: str, value: str) -> None:
        """Change a setting in a settings file, which sensors read at each tick."""
        with self.pipeline.stack.env_file.open("a") as file:
            file.write(f"{name}={value}\n")

    def wait_until_all_listened_to(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Publish a toot at every server, and wait until all of them are in Kafka."""
        simulator = self.pipeline.simulator
        fresh = {simulator.publish(number) for number in range(len(simulator.servers))}
        wait_until(lambda: fresh <= self.topic.uris, "toots of every server", seconds)

    def wait_until_replaced(self, before: str) -> None:
        """Wait until another run than this one listens and sends heartbeats."""

        def another_listens() -> bool:
            run_id = last_heartbeat(self.pipeline.instance, DEFAULT_GROUP).run_id
            return run_id not in ("", before) and run_id in self.listeners()

        wait_until(another_listens, "another run", RECOVERY_SECONDS)
        assert self.listeners() != [before]

    def assert_listeners_stay(self, run_ids: list[str], seconds: float) -> None:
        """Fail if within this time any other runs than these are started."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.listeners() == run_ids
            time.sleep(0.5)

    def reset_stream_count(self) -> None:
        """Start to count again how many streams are open at once at each server."""

        def reset() -> None:
            for server in self.pipeline.simulator.servers:
                server.streams.most_at_once = 0

        self.pipeline.simulator.call(reset)

    def most_streams_at_once(self) -> int:
        """Return the most streams open at once at any server since `reset_stream_count`."""
        servers = self.pipeline.simulator.servers
        return self.pipeline.simulator.call(lambda: max(s.streams.most_at_once for s in servers))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with (
        running_pipeline(TOOTS_PER_SECOND) as pipeline,
        TopicWatch(pipeline.settings) as topic,
    ):
        yield Scene(pipeline, topic)


def test_listener_run_survives_a_reload_of_the_code_location(scene: Scene) -> None:
    """It goes on with its old code; no second one is started beside it."""
    before = scene.listener()
    scene.reset_stream_count()
    scene.query_dagster(RELOAD)
    scene.wait_until_all_listened_to()
    scene.assert_listeners_stay([before], 20)
    assert scene.most_streams_at_once() <= 1


@pytest.mark.parametrize("program", ["dagster-daemon", "dagster-code-server"])
def test_listener_run_survives_a_kill_of_dagsters_program(scene: Scene, program: str) -> None:
    """The run listens on, and the next daemon or code server leaves it alone. Shows G4."""
    before = scene.listener()
    scene.reset_stream_count()
    os.kill(scene.pipeline.pid(program), signal.SIGKILL)
    scene.wait_until_all_listened_to()
    wait_until(lambda: scene.pipeline.answers(program), f"the next {program}", 90)
    scene.assert_listeners_stay([before], 12)
    assert scene.most_streams_at_once() <= 1


def test_hung_listener_run_is_replaced_and_stops_when_resumed(scene: Scene) -> None:
    """SIGSTOP for longer than the stale limit, then SIGCONT: it must not produce beside the next.

    Shows G4.
    """
    before, process = scene.listener(), scene.pipeline.listener()
    assert process is not None
    process.suspend()
    try:
        scene.wait_until_replaced(before)
        scene.wait_until_all_listened_to()
        successor = scene.listener()
    finally:
        process.resume()
    assert not wait_until_ended([process], FENCE_SECONDS), "the resumed run still listens"
    scene.assert_listeners_stay([successor], 10)
    scene.reset_stream_count()
    scene.wait_until_all_listened_to()
    assert scene.most_streams_at_once() <= 1


def test_no_stream_brings_a_toot_twice_without_a_takeover(scene: Scene) -> None:
    """While the same run listens, each toot comes once over each server's stream. Shows G4."""
    scene.topic.streamed.clear()
    run = scene.listener()
    scene.wait_until_all_listened_to()
    scene.assert_listeners_stay([run], 5)
    assert max(scene.topic.streamed.values()) == 1


def test_terminated_listener_run_stays_down_until_launched_by_hand(scene: Scene) -> None:
    """Terminated in the UI it ends within seconds, and no sensor starts another."""
    before = scene.listener()
    scene.query_dagster(TERMINATE, run=before)
    wait_until(lambda: _state(scene, before) == "canceled", "the end of the run", 30)
    scene.assert_listeners_stay([], 20)
    launched = scene.query_dagster(LAUNCH)["launchRun"]["__typename"]
    assert launched == "LaunchRunSuccess"
    scene.wait_until_all_listened_to()
    assert len(scene.listeners()) == 1


def test_servers_change_groups_without_a_second_stream(scene: Scene) -> None:
    """From one group's run to three and back, and no server ever has two streams. Shows G5."""
    servers = scene.pipeline.settings.servers()
    for count in (3, 1):
        wanted = spread(servers, count)
        scene.reset_stream_count()
        scene.set_setting("LISTENER_GROUPS", str(count))
        wait_until(partial(_settled, scene, wanted), f"{count} groups", 120)
        scene.wait_until_all_listened_to()
        assert scene.most_streams_at_once() <= 1


def _state(scene: Scene, run_id: str) -> str:
    return next(
        r.state for r in listener_runs(scene.pipeline.instance, DEFAULT_GROUP) if r.run_id == run_id
    )


def _settled(scene: Scene, wanted: dict[str, tuple[Server, ...]]) -> bool:
    """Return whether each group's run follows the wanted servers, and no other group has one."""
    assignments = load_assignments(scene.pipeline.instance, ALL_GROUPS)
    for group in ALL_GROUPS:
        servers, assignment = wanted.get(group, ()), assignments[group]
        running = [run for run in listener_runs(scene.pipeline.instance, group) if run.active]
        if not servers and running:
            return False
        if servers and (
            assignment is None
            or assignment.servers != servers
            or not any(run.assignment_version == assignment.version for run in running)
        ):
            return False
    return True
