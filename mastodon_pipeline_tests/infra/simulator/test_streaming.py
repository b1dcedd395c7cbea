"""The simulated servers' streams: Mastodon's wire format, and events that match the truth."""

import json
import threading
from collections import Counter
from typing import Any

import pytest
import requests
from mastodon import Mastodon, StreamListener

from infra.simulator.faults import MALFORMED, ODD
from infra.simulator.fediverse import Options, default_servers
from infra.simulator.instance import ServerPolicy
from infra.simulator.server import SimulatedServer
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

FAST = float("inf")
END = 1_790_000_000_000


class Client:
    """Reads a stream in a thread: its HTTP chunks, and the events in them."""

    def __init__(self, simulator: Simulator, server: int | str = 0, path: str = "public/local"):
        target = simulator.server(server)
        before = simulator.call(lambda: len(target.streams))
        self.chunks: list[bytes] = []
        self.error: Exception | None = None
        self._response = requests.get(
            f"{target.base_url}/api/v1/streaming/{path}",
            headers={"Authorization": f"Bearer {target.tokens.user}"},
            stream=True,
            timeout=300,
        )
        self._response.raise_for_status()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        simulator.wait_until(lambda: len(target.streams) > before)

    def _read(self) -> None:
        try:
            # Without a size, urllib3 yields each HTTP chunk.
            self.chunks.extend(self._response.iter_content(None))
        except requests.RequestException as error:
            self.error = error
        finally:
            self._response.close()

    def events(self) -> list[tuple[str, bytes]]:
        """List (name, payload) of every complete event so far."""
        blocks = b"".join(self.chunks).removeprefix(b":)\n").split(b"\n\n")[:-1]
        events = []
        for block in blocks:
            if not block.startswith(b":"):
                name, data = block.split(b"\n", 1)
                events.append(
                    (name.removeprefix(b"event: ").decode(), data.removeprefix(b"data: "))
                )
        return events

    def wait_for(self, count: int) -> list[tuple[str, bytes]]:
        """Wait until `count` events have arrived; return all events."""
        wait_until(
            lambda: len(self.events()) >= count,
            lambda: f"{len(self.events())} of {count} events",
            timeout_seconds=1200,
        )
        return self.events()

    def wait_closed(self) -> None:
        """Wait until the stream has ended."""
        self._thread.join(900)
        assert not self._thread.is_alive()


def one_server(**policy: Any) -> Options:
    return Options(servers=(ServerPolicy("harbour.example", **policy),), toots=0, start="now")


def test_stream_starts_with_a_greeting_and_sends_two_chunks_per_event() -> None:
    """`:)` at once; then the event's name and its data, each in a separate HTTP chunk."""
    with Simulator(one_server()) as simulator:
        client = Client(simulator)
        uri = simulator.publish()
        client.wait_for(1)
        greeting, name, data = client.chunks
        assert (greeting, name) == (b":)\n", b"event: update\n")
        assert data.startswith(b"data: {")
        assert data.endswith(b"}\n\n")
        assert json.loads(data[6:])["uri"] == uri


def test_idle_stream_sends_thumps() -> None:
    """A comment at an interval, which is 15 s in Mastodon."""
    assert ServerPolicy("a.example").thump_seconds == 15
    with Simulator(one_server(thump_seconds=0.05)) as simulator:
        client = Client(simulator)
        simulator.wait_until(lambda: b":thump\n\n" in client.chunks)
        assert client.events() == []


def test_stream_replays_nothing() -> None:
    """Toots published while no client listens are in the timeline only."""
    with Simulator(one_server()) as simulator:
        simulator.publish()
        client = Client(simulator)
        second = simulator.publish()
        assert [json.loads(data)["uri"] for _, data in client.wait_for(1)] == [second]


def test_clients_receive_exactly_the_truth() -> None:
    """Every local toot once, every edit and delete, and nothing that public feeds exclude."""
    options = Options(servers=default_servers(3), toots=400, speed=FAST, start="control", end=END)
    with Simulator(options) as simulator:
        streaming = (simulator.servers[0], simulator.servers[2])
        clients = {s.domain: Client(simulator, s.domain) for s in streaming}
        simulator.start_publishing()
        simulator.wait_until_done()
        truth = simulator.truth()
        for domain, client in clients.items():
            own = [toot for toot in truth if toot.server == domain]
            edits = [toot for toot in own if len(toot.texts) > 1]
            deleted = {toot.listed[domain] for toot in own if toot.deleted}
            events = client.wait_for(len(own) + len(edits) + len(deleted))
            updates = [json.loads(data) for name, data in events if name == "update"]
            assert [status["uri"] for status in updates] == [toot.uri for toot in own]
            assert {
                json.loads(data)["uri"] for name, data in events if name == "status.update"
            } == {toot.uri for toot in edits}
            assert {data.decode() for name, data in events if name == "delete"} == deleted
            assert Counter(status["created_at"][:13].replace("T", "-") for status in updates) == {
                row.hour: row.toots
                for row in simulator.toots_per_server_per_hour()
                if row.server == domain
            }


def test_channels_split_local_and_remote_toots() -> None:
    """`public` carries both, `public/local` and `public/remote` one each."""
    options = Options(servers=default_servers(3), toots=200, speed=FAST, start="control", end=END)
    with Simulator(options) as simulator:
        orbit = simulator.servers[2].domain
        paths = ("public", "public/local", "public/remote")
        channels = {path: Client(simulator, 2, path) for path in paths}
        simulator.start_publishing()
        simulator.wait_until_done()
        listed = [toot for toot in simulator.truth() if orbit in toot.listed]
        local = {toot.uri for toot in listed if toot.server == orbit}
        remote = {toot.uri for toot in listed if toot.server != orbit}
        assert remote
        for path, wanted in {
            "public": local | remote,
            "public/local": local,
            "public/remote": remote,
        }.items():
            channels[path].wait_for(len(wanted))
            got = {json.loads(d)["uri"] for n, d in channels[path].events() if n == "update"}
            assert got == wanted


def test_same_seed_gives_the_same_truth() -> None:
    """Toots, texts, times and ids depend on the seed only."""

    def truth(seed: int) -> object:
        options = Options(toots=150, speed=FAST, start="now", seed=seed, end=END)
        with Simulator(options) as simulator:
            simulator.wait_until_done()
            return simulator.truth()

    assert truth(1) == truth(1)
    assert truth(1) != truth(2)


def test_live_toots_are_by_the_planned_authors() -> None:
    """Authors with noindex keep it, and live toots are in the truth."""
    options = Options(toots=200, speed=FAST, start="now", live_rate=500)
    with Simulator(options) as simulator:
        simulator.wait_until(lambda: simulator.fediverse.status()["published"] >= 400)
        truth = simulator.truth()
        marks = {(toot.server, toot.username, toot.noindex, toot.bot) for toot in truth}
        assert len(marks) == len({(toot.server, toot.username) for toot in truth})
        assert len({toot.uri for toot in truth}) == len(truth)


def test_publication_waits_for_a_listener_at_every_server() -> None:
    """A stream if there is a token, else an accepted poll."""
    options = Options(servers=default_servers(2), toots=20, speed=FAST)
    with Simulator(options) as simulator:
        poll = f"{simulator.servers[1].base_url}/api/v1/timelines/public"
        client = Client(simulator, 0)
        assert requests.get(poll, timeout=300).status_code == 422
        assert not simulator.call(simulator.servers[1].listened.is_set)
        assert requests.get(poll, params={"local": "1"}, timeout=300).json() == []
        simulator.wait_until_done()
        assert len(client.wait_for(1)) > 0


def test_mastodon_py_can_read_simulated_servers() -> None:
    """The library that the pipeline uses: discovery, timelines, and a local stream."""

    class Collecting(StreamListener):
        def __init__(self) -> None:
            self.uris: list[str] = []

        def on_update(self, status: Any) -> None:
            self.uris.append(status.uri)

    with Simulator(one_server(thump_seconds=0.05)) as simulator:
        server = simulator.servers[0]
        client = Mastodon(api_base_url=server.base_url, access_token=server.tokens.user)
        assert client.instance().domain == "harbour.example"
        assert client.account_verify_credentials().acct == server.people[0].username
        assert client.stream_healthy()
        listener = Collecting()
        handle = client.stream_local(listener, run_async=True)
        simulator.wait_until(lambda: len(server.streams) == 1)
        uris = [simulator.publish() for _ in range(3)]
        simulator.wait_until(lambda: sorted(listener.uris) == sorted(uris))
        assert [status.uri for status in client.timeline_local()] == uris[::-1]
        assert [status.uri for status in client.timeline_public(limit=2)] == uris[:0:-1]
        handle.close()


def test_mastodon_py_can_log_in() -> None:
    """It registers an application, and exchanges the code for the user's token."""
    with Simulator(one_server()) as simulator:
        server = simulator.servers[0]
        client_id, secret = Mastodon.create_app("test", api_base_url=server.base_url)
        client = Mastodon(client_id, secret, api_base_url=server.base_url)
        granted = client.log_in(code=server.tokens.login_code, scopes=["read"])
        assert granted == server.tokens.user


@pytest.mark.parametrize(("kind", "broken"), [("cut", True), ("end", False)])
def test_streams_can_be_cut_or_ended(kind: str, broken: bool) -> None:
    """Cut: a reset in the middle, like a crash. End: the last HTTP chunk, like a restart."""
    with Simulator(one_server()) as simulator:
        client = Client(simulator)
        simulator.fault(kind)
        client.wait_closed()
        assert (client.error is not None) == broken
        simulator.wait_until(lambda: len(simulator.servers[0].streams) == 0)


def test_client_that_leaves_is_noticed_at_once() -> None:
    """So `streams_open` counts current listeners."""
    with Simulator(one_server()) as simulator:
        client = Client(simulator)
        client._response.raw.shutdown()
        client.wait_closed()
        simulator.wait_until(lambda: len(simulator.servers[0].streams) == 0)


def test_silent_stream_sends_neither_events_nor_thumps() -> None:
    """What was missed is not sent later."""
    with Simulator(one_server(thump_seconds=0.02)) as simulator:
        client = Client(simulator)
        simulator.fault("silence")
        simulator.publish()
        simulator.fault("clear")
        uri = simulator.publish()
        assert [json.loads(data)["uri"] for _, data in client.wait_for(1)] == [uri]


def health(server: SimulatedServer) -> int:
    return requests.get(f"{server.base_url}/api/v1/streaming/health", timeout=300).status_code


@pytest.mark.parametrize("status", [401, 410, 429, 503])
def test_server_can_answer_errors_for_a_while(status: int) -> None:
    """Every request gets the status until the fault ends or is cleared."""
    with Simulator(one_server()) as simulator:
        server = simulator.servers[0]
        simulator.fault("answer", status=status, seconds=3600)
        assert health(server) == status
        simulator.fault("clear")
        assert health(server) == 200


def test_connections_can_be_dropped() -> None:
    """They are reset before any answer."""
    with Simulator(one_server()) as simulator:
        simulator.fault("drop", seconds=3600)
        with pytest.raises(requests.ConnectionError):
            health(simulator.servers[0])
        simulator.fault("clear")
        assert health(simulator.servers[0]) == 200


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_malformed_events_can_be_sent(name: str) -> None:
    """The payload is sent byte for byte, between good events."""
    with Simulator(one_server()) as simulator:
        client = Client(simulator)
        assert simulator.fault("event", name=name) is None
        good = simulator.publish()
        events = client.wait_for(2)
        assert events[0] == ("update", MALFORMED[name])
        assert json.loads(events[1][1])["uri"] == good


@pytest.mark.parametrize("name", sorted(ODD))
def test_irregular_events_are_valid_json_and_not_in_the_truth(name: str) -> None:
    """The fault returns their uri."""
    with Simulator(one_server()) as simulator:
        client = Client(simulator)
        uri = simulator.fault("event", name=name)
        ((_, payload),) = client.wait_for(1)
        assert json.loads(payload)["uri"] == uri
        assert simulator.truth() == []
