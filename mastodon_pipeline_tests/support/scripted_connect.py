"""A Kafka Connect whose answers a test scripts, on a loopback port."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mastodon_pipeline_tests.support.serving import serving

Answer = tuple[int, object]


@dataclass
class ScriptedConnect:
    """Answers each `METHOD /path` with its next scripted answer; the last one is repeated."""

    url: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, object]] = field(default_factory=list)

    def on(self, request: str, *answers: Answer) -> None:
        """Script the answers to one request."""
        self.answers[request] = list(answers)

    def answer(self, request: str, body: object) -> Answer:
        """Return the next answer; 404, in Connect's words, if nothing was scripted."""
        self.requests.append((request, body))
        scripted = self.answers.get(request)
        if not scripted:
            return 404, {"error_code": 404, "message": "not found"}
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]

    def runs(self, config: dict[str, str], *, state: str = "RUNNING", trace: str = "") -> None:
        """Script a connector with this configuration, and one task in this state."""
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


@contextmanager
def scripted_connect() -> Iterator[ScriptedConnect]:
    """Serve a scripted Kafka Connect on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = connect.answer(f"{self.command} {self.path}", body)
            payload = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_PUT = do_POST = do_DELETE = respond

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        connect = ScriptedConnect(f"http://127.0.0.1:{server.server_port}")
        yield connect
