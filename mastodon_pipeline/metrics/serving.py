"""Serves the metrics over HTTP, on this machine alone unless told otherwise.

They name the servers that are followed, and hold no secret and nothing of a person. On a loopback
address only the names of this machine are answered to, so that no page of another site reads them
through a name that leads here.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.metrics.collecting import PipelineCollector
from mastodon_pipeline.settings import Settings

_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


@contextmanager
def metrics_server(home: Path, settings: Settings, address: str, port: int) -> Iterator[WSGIServer]:
    """Open the server of a pipeline's metrics; its `serve_forever` serves them.

    `home`: that of the Dagster that runs the pipeline. Raises SettingsError if there is none, or
    if the address cannot be listened at.
    """
    if not (home / "dagster.yaml").exists():
        raise SettingsError(
            f"no Dagster runs here, which knows of listeners and checks: {home} has no"
            " dagster.yaml; start it with `make up`, or set MASTODON_PIPELINE_DATA"
        )
    registry = CollectorRegistry()
    with open_instance(home) as instance:
        registry.register(PipelineCollector(instance, settings))
        try:
            server = make_server(
                address,
                port,
                _Answering(registry, guarded=address in _OWN_NAMES),
                ThreadingWSGIServer,
                _Quiet,
            )
        except (OSError, OverflowError) as error:
            raise SettingsError(f"cannot listen at {address}:{port}: {error}") from None
        with server:
            yield server


class _Answering:
    """The metrics as a WSGI application, to names of this machine alone if it is guarded."""

    def __init__(self, registry: CollectorRegistry, guarded: bool) -> None:
        self._metrics = make_wsgi_app(registry)
        self._guarded = guarded

    def __call__(self, environ: WSGIEnvironment, respond: StartResponse) -> Iterable[bytes]:
        try:
            name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname
        except ValueError:
            name = None
        if self._guarded and name not in _OWN_NAMES:
            respond("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"the metrics are served to 127.0.0.1 and localhost alone\n"]
        if environ.get("PATH_INFO") == "/healthy":
            respond("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"ok\n"]
        answer: Iterable[bytes] = self._metrics(environ, respond)
        return answer


class _Quiet(WSGIRequestHandler):
    """Logs no request: one comes every few seconds."""

    def log_message(self, format: str, *args: object) -> None:
        pass
