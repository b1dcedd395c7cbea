"""A listener beside simulated servers, into a real Kafka and schema registry."""

import signal

import pytest

from infra.simulator.faults import MALFORMED
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.observation import observe_topic
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import new_toots, read_all
from mastodon_pipeline_tests.support.processes import CLI, python_process
from mastodon_pipeline_tests.support.running_listener import running_listener
from mastodon_pipeline_tests.support.simulated_servers import simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

STREAMING = ServerPolicy("stream.example")
POLLED = ServerPolicy("poll.example", token=False)


def test_each_toot_is_in_the_topic_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key is the uri, Kafka's timestamp its arrival, the value in Confluent's wire format."""
    with Simulator(Options(toots=300, hours=3, speed=10_000)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        with running_listener(settings):
            simulator.wait_until_done()
            truth = {toot.uri: toot for toot in simulator.truth()}
            # One that was deleted before we came is nowhere to be read.
            undeleted = {toot.uri for toot in truth.values() if not toot.deleted}
            wait_until(lambda: set(new_toots(settings)) >= undeleted, "all toots")
    messages = read_all(settings, settings.kafka_topic)
    counted = new_toots(settings)
    assert undeleted <= counted.keys() <= truth.keys()
    assert {*counted.values()} == {1}
    for message in messages:
        record = decode(message.value() or b"")
        assert (message.key() or b"").decode() == record.uri
        assert message.timestamp()[1] >= record.ingested_at
        assert record.server == truth[record.uri].server
    observation = observe_topic(settings)
    assert observation.end_offset == len(messages)
    assert observation.newest_record_at == max(m.timestamp()[1] for m in messages)


def test_bad_event_is_in_the_dead_letter_topic_with_its_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The raw payload, and in the headers why, from whom and what it was. Shows G9."""
    with Simulator(Options(servers=(STREAMING,), toots=0, start="control")) as simulator:
        simulated = simulator_settings(simulator, monkeypatch)
        with running_listener(simulated) as listener:
            wait_until(lambda: listener.statistics[0].state == "streaming", "the stream")
            simulator.fault("event", name="bad_json")
            wait_until(lambda: listener.statistics[0].dead_letters == 1, "the dead letter")
        base_url = simulator.servers[0].base_url
    [message] = read_all(settings, settings.dead_letter_topic)
    headers: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]
    assert message.value() == MALFORMED["bad_json"]
    assert b"not JSON" in headers["reason"]
    assert headers["exception"] == b"UndecodableStatus"
    assert (headers["server"], headers["event"]) == (base_url.encode(), b"update")


@pytest.mark.parametrize("policy", [STREAMING, POLLED], ids=["streamed", "polled"])
def test_killed_listener_loses_nothing(policy: ServerPolicy, settings: Settings) -> None:
    """kill -9 with toots in its queue and toots published while it is dead; then another one.

    Shows G1.
    """
    with Simulator(Options(servers=(policy,), toots=0, start="control")) as simulator:
        environment = simulator.environment | {"MASTODON_POLL_INTERVAL_SECONDS": "0.2"}
        base_url = simulator.servers[0].base_url
        listen = (*CLI, "listen", "--enable-kafka", "--base-url", base_url)
        published = []
        with python_process(*listen, environment=environment) as first:
            ensure_topics(settings, listening_topics(settings))
            positions = open_kafka(settings)[1]
            wait_until(lambda: bool(positions.read()), "the first position")
            published += [simulator.publish() for _ in range(60)]
            wait_until(lambda: published[0] in new_toots(settings), "the first toots")
            published += [simulator.publish() for _ in range(60)]
            first.kill()
            first.wait()
        published += [simulator.publish() for _ in range(60)]
        with python_process(*listen, environment=environment) as second:
            wait_until(lambda: set(new_toots(settings)) >= set(published), "every toot")
            second.send_signal(signal.SIGINT)
            second.wait(900)
        assert set(new_toots(settings)) == set(published)
