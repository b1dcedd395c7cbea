"""A scripted Kafka Connect, and a sink on the real one: a thousand toots, landed once a session."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.producing import produce, produce_bytes, toots
from mastodon_pipeline_tests.support.sinking import COUNT, FIRST, HOURS, NAMES, caught_up

Answer = tuple[int, object]


@dataclass
class ScriptedConnect:
    """Answers each `METHOD /path` with its next scripted answer; the last one stays."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, object]] = field(default_factory=list)

    def on(self, request: str, *answers: Answer) -> None:
        """Scripts the answers to one request."""
        self.answers[request] = list(answers)

    def answer(self, request: str, body: object) -> Answer:
        """The next answer; 404 as Connect words it where nothing was scripted."""
        self.requests.append((request, body))
        scripted = self.answers.get(request)
        if not scripted:
            return 404, {"error_code": 404, "message": "not found"}
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]

    def runs(self, config: dict[str, str], *, state: str = "RUNNING", trace: str = "") -> None:
        """Scripts one connector with this configuration and one task in this state."""
        name = config["name"]
        worker = "127.0.0.1:8083"
        task = {"id": 0, "state": state, "worker_id": worker, "trace": trace}
        status = {
            "name": name,
            "connector": {"state": "RUNNING", "worker_id": worker},
            "tasks": [task],
            "type": "sink",
        }
        self.on(f"GET /connectors/{name}/config", (200, config))
        self.on(f"GET /connectors/{name}/status", (200, status))


@pytest.fixture
def connect() -> Iterator[ScriptedConnect]:
    """A scripted Kafka Connect on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = scripted.answer(f"{self.command} {self.path}", body)
            payload = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_PUT = do_POST = do_DELETE = respond

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scripted = ScriptedConnect(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield scripted
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(connect: ScriptedConnect) -> Settings:
    """Settings that reach the scripted Connect, and nothing else."""
    return load_settings(
        kafka_connect_url=connect.url,
        kafka_bootstrap_servers="127.0.0.1:1",
        s3_endpoint="http://127.0.0.1:1",
        aws_access_key_id="an-access-key",
        aws_secret_access_key="a-secret-key",
    )


@pytest.fixture(scope="session")
def sink(stack: Stack) -> Iterator[Settings]:
    """Settings of a topic, a bucket and a connector of these tests' own."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in NAMES.items():
            environment.setenv(name, value)
        settings = load_settings()
    yield settings
    with ConnectRest(settings.kafka_connect_url) as connect:
        connect.delete(settings.connector_name)


@pytest.fixture
def sink_environment(sink: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same names where Dagster's jobs look for them."""
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def landed(sink: Settings) -> int:
    """A connector made by the job, and 1000 toots of four hours landed; returns their number.

    The first record ever is a tombstone, which could neither make a table nor land in one.
    """
    ensure_topics(sink, listening_topics(sink))
    produce_bytes(sink, None, partition=0)
    produce(sink, toots(COUNT, FIRST, HOURS))
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        for name, value in NAMES.items():
            environment.setenv(name, value)
        assert kafka_connect_config.execute_in_process(instance=instance).success
    caught_up(sink)
    return COUNT


@pytest.fixture
def lake(sink: Settings) -> Iterator[Lake]:
    """The lake that the sink writes to."""
    with open_lake(sink) as lake:
        yield lake
