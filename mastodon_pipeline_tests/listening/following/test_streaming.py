"""Silent streams are cut; a listener that was asleep itself does not blame the servers."""

import asyncio
import time

import pytest
from aiohttp import web

from mastodon_pipeline.errors import CrossHostRedirect, Refused, Unreachable, UnsafeAddress
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.following.mode import Mode
from mastodon_pipeline.listening.following.streaming import OpenStream, Sweeper, follow_stream
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import RecordingSink, recorder_into


class FakeContent:
    """A stand-in for a response's content: keeps the exception of a cut."""

    def __init__(self) -> None:
        self.exception: BaseException | None = None

    def set_exception(self, exc: BaseException) -> None:
        self.exception = exc


def watched(sweeper: Sweeper) -> tuple[OpenStream, FakeContent]:
    content = FakeContent()
    stream = OpenStream(content)
    sweeper.watch(stream)
    return stream, content


def test_stream_is_cut_after_a_minute_of_silence() -> None:
    """Four heartbeats are missing by then; other streams are not affected."""
    sweeper = Sweeper(60)
    (silent, cut), (_, uncut) = watched(sweeper), watched(sweeper)
    now = silent.last_bytes_at
    sweeper.sweep(now + 59, delay_seconds=0)
    assert cut.exception is None
    silent.last_bytes_at -= 2
    sweeper.sweep(now + 59, delay_seconds=0)
    assert isinstance(cut.exception, Unreachable)
    assert "silent for 60 s" in str(cut.exception)
    assert uncut.exception is None


def test_time_during_which_we_did_not_read_is_no_silence() -> None:
    """After a SIGSTOP, or while Kafka took nothing, what has arrived is read first."""
    sweeper = Sweeper(60)
    stream, content = watched(sweeper)
    now = stream.last_bytes_at
    sweeper.sweep(now + 500, delay_seconds=499)
    assert content.exception is None, "we did not read"
    sweeper.sweep(now + 500 + 58, delay_seconds=0)
    assert content.exception is None
    sweeper.sweep(now + 500 + 62, delay_seconds=0)
    assert content.exception is not None, "now the server sends nothing"


def test_stream_that_has_ended_is_not_cut() -> None:
    sweeper = Sweeper(60)
    stream, content = watched(sweeper)
    sweeper.forget(stream)
    sweeper.sweep(time.monotonic() + 1000, delay_seconds=0)
    assert content.exception is None


EVENT = (
    b'event: update\ndata: {"id": "1", "uri": "https://a.example/1", '
    b'"created_at": "2026-01-01T00:00:00Z", "account": {"acct": "ann"}}\n\n'
)


async def stream(request: web.Request) -> web.StreamResponse:
    if request.path == "/gzip/api/v1/streaming/public/local":
        return web.Response(body=b"", headers={"Content-Encoding": "gzip"})
    if request.path == "/away/api/v1/streaming/public/local":
        raise web.HTTPFound("http://localhost:1/")
    if request.path == "/here/api/v1/streaming/public/local":
        raise web.HTTPFound("/api/v1/streaming/public/local")
    if request.path == "/busy/api/v1/streaming/public/local":
        return web.Response(status=429, headers={"Retry-After": "7"})
    if request.path == "/page/api/v1/streaming/public/local":
        return web.Response(text="<h1>Welcome</h1>", content_type="text/html")
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(EVENT)
    if request.path == "/silent/api/v1/streaming/public/local":
        await asyncio.sleep(60)
    return response


def follow(path: str, sink: RecordingSink, private: bool = True) -> None:
    """Follow a stream of a server on loopback until it ends."""

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", stream)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        settings = Settings(mastodon_allow_private_addresses=private)
        host = "localhost" if path == "/name" else f"127.0.0.1:{port}"
        scheme = "http" if private else "https"
        sweeper = Sweeper(0.2)
        sweeping = asyncio.create_task(sweeper.run())
        try:
            async with Connections(settings) as connections:
                await follow_at(f"{scheme}://{host}{path}", sink, connections, sweeper)
        finally:
            sweeping.cancel()
            await runner.cleanup()

    asyncio.run(run())


async def follow_at(
    url: str, sink: RecordingSink, connections: Connections, sweeper: Sweeper
) -> None:
    mode, opened = Mode("stream", "", True, url, "local"), asyncio.Event()
    recorder = recorder_into(sink)
    try:
        await follow_stream(mode, "token", recorder, connections, sweeper, opened.set)
    finally:
        assert opened.is_set() == bool(sink.records), "it is open before its first event"


def test_stream_is_read_until_the_server_ends_it() -> None:
    """Also if the server has moved it, on the same host."""
    for path in ("", "/here"):
        sink = RecordingSink()
        follow(path, sink)
        assert sink.uris() == ["https://a.example/1"]


def test_silent_stream_is_unreachable_and_keeps_what_came_before() -> None:
    sink = RecordingSink()
    with pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
        follow("/silent", sink)
    assert sink.uris() == ["https://a.example/1"]


def test_refusal_to_stream_carries_its_headers() -> None:
    """They say when to come back."""
    with pytest.raises(Refused) as refused:
        follow("/busy", RecordingSink())
    assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(
    ("path", "error"),
    [("/gzip", Unreachable), ("/page", Unreachable), ("/away", CrossHostRedirect)],
)
def test_response_that_is_not_a_plain_stream_of_this_server_is_not_read(
    path: str, error: type[Exception]
) -> None:
    """Compressed, it may expand without bound; a page comes from the hosting provider."""
    sink = RecordingSink()
    with pytest.raises(error):
        follow(path, sink)
    assert not sink.records


def test_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `requests` does it for Mastodon.py: there may be no other way out."""
    hosts: list[str] = []
    sink = RecordingSink()

    async def run() -> None:
        async def proxy(request: web.Request) -> web.StreamResponse:
            hosts.append(request.headers["Host"])
            return await stream(request)

        app = web.Application()
        app.router.add_get("/{path:.*}", proxy)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{runner.addresses[0][1]}")
        monkeypatch.setenv("no_proxy", "b.example")
        settings = Settings(mastodon_allow_private_addresses=True)
        async with Connections(settings) as connections:
            await follow_at("http://a.example", sink, connections, Sweeper())
        await runner.cleanup()

    asyncio.run(run())
    assert (hosts, sink.uris()) == (["a.example"], ["https://a.example/1"])


@pytest.mark.parametrize("path", ["", "/name"])
def test_stream_does_not_lead_into_a_private_network(path: str) -> None:
    """Neither by an address nor by a name that has one."""
    with pytest.raises(UnsafeAddress):
        follow(path, RecordingSink(), private=False)
