"""Silent streams are cut; a listener that was asleep itself does not blame the servers."""

import asyncio
import time

import pytest
from aiohttp import web

from mastodon_pipeline.errors import CrossHostRedirect, Refused, Unreachable, UnsafeAddress
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.following.discovery import Way
from mastodon_pipeline.listening.following.events import BlockStreamListener
from mastodon_pipeline.listening.following.streaming import OpenStream, Sweeper, follow_events
from mastodon_pipeline.listening.protocol.statuses import Status
from mastodon_pipeline.settings import Settings


class Heard:
    """A stand-in for a response's content: notes whether it was cut."""

    def __init__(self) -> None:
        self.exception: BaseException | None = None

    def set_exception(self, error: BaseException) -> None:
        self.exception = error


def watched(sweeper: Sweeper) -> tuple[OpenStream, Heard]:
    heard = Heard()
    stream = OpenStream(heard)
    sweeper.watch(stream)
    return stream, heard


def test_a_minute_of_silence_cuts_a_stream_and_no_other() -> None:
    """Four heartbeats are missing by then."""
    sweeper = Sweeper(60)
    (silent, cut), (_, uncut) = watched(sweeper), watched(sweeper)
    now = silent.heard_at
    sweeper.sweep(now + 59, late=0)
    assert cut.exception is None
    silent.heard_at -= 2
    sweeper.sweep(now + 59, late=0)
    assert isinstance(cut.exception, Unreachable)
    assert "silent for 60 s" in str(cut.exception)
    assert uncut.exception is None


def test_the_time_that_we_slept_is_forgiven() -> None:
    """After a SIGSTOP, or while Kafka took nothing, what has arrived is yet to be read."""
    sweeper = Sweeper(60)
    stream, heard = watched(sweeper)
    now = stream.heard_at
    sweeper.sweep(now + 500, late=499)
    assert heard.exception is None, "it was we who did not listen"
    sweeper.sweep(now + 500 + 58, late=0)
    assert heard.exception is None
    sweeper.sweep(now + 500 + 62, late=0)
    assert heard.exception is not None, "and now it is the server that does not speak"


def test_a_forgotten_stream_is_left_alone() -> None:
    """It has ended by itself."""
    sweeper = Sweeper(60)
    stream, heard = watched(sweeper)
    sweeper.forget(stream)
    sweeper.sweep(time.monotonic() + 1000, late=0)
    assert heard.exception is None


class Collecting(BlockStreamListener):
    """Keeps the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.aborted: list[Exception] = []

    def on_update(self, status: Status) -> None:  # type: ignore[override]
        self.ids.append(str(status.id))

    def on_abort(self, err: Exception) -> None:
        self.aborted.append(err)


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


def follow(path: str, listener: BlockStreamListener, private: bool = True) -> None:
    """Follows a stream of a server on loopback until it ends."""

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", stream)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        settings = Settings(mastodon_allow_private_addresses=private)
        host = "localhost" if path == "/name" else f"127.0.0.1:{port}"
        scheme = "http" if private else "https"
        way = Way("stream", "", True, f"{scheme}://{host}{path}", "local")
        sweeper = Sweeper(0.2)
        sweeping = asyncio.create_task(sweeper.run())
        try:
            async with Connections(settings) as connections:
                await follow_events(way, "token", listener, connections, sweeper)
        finally:
            sweeping.cancel()
            await runner.cleanup()

    asyncio.run(run())


def test_a_stream_is_read_until_the_server_ends_it() -> None:
    """Also where the server has moved it, on the same host."""
    for path in ("", "/here"):
        listener = Collecting()
        follow(path, listener)
        assert listener.ids == ["1"]
        assert not listener.aborted


def test_a_stream_that_falls_silent_is_told_as_such() -> None:
    """What came before it is kept."""
    listener = Collecting()
    with pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
        follow("/silent", listener)
    assert listener.ids == ["1"]
    assert len(listener.aborted) == 1


def test_how_a_server_refuses_to_stream_is_told_with_its_headers() -> None:
    """They say when to come back."""
    with pytest.raises(Refused) as refused:
        follow("/busy", Collecting())
    assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize(("path", "error"), [("/gzip", Unreachable), ("/away", CrossHostRedirect)])
def test_what_is_no_plain_stream_of_this_server_is_not_read(
    path: str, error: type[Exception]
) -> None:
    """Compressed it may unfold to anything; a page is a hoster's; another host is not asked for."""
    listener = Collecting()
    with pytest.raises(error):
        follow(path, listener)
    assert not listener.ids


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no other way out, as `requests` does it for Mastodon.py."""
    hosts: list[str] = []

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
        way = Way("stream", "", True, "http://a.example", "local")
        settings = Settings(mastodon_allow_private_addresses=True)
        async with Connections(settings) as connections:
            await follow_events(way, "token", listener, connections, Sweeper())
        await runner.cleanup()

    listener = Collecting()
    asyncio.run(run())
    assert (hosts, listener.ids) == (["a.example"], ["1"])


@pytest.mark.parametrize("path", ["", "/name"])
def test_no_stream_leads_into_a_private_network(path: str) -> None:
    """Neither by an address nor by a name that has one."""
    with pytest.raises(UnsafeAddress):
        follow(path, Collecting(), private=False)
