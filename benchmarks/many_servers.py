"""A thousand minimal Mastodon servers in one process, for `many_streams` and `sustained`.

Each has a separate port on loopback and serves its instance, its local timeline and its event
stream, with a thump every 15 s. The benchmarks start and control them over HTTP. Toots are copies
of some thousand drafts, each with an id, an address and a time of its own, since the servers must
not be what limits a measurement.
"""

import asyncio
import json
import random
import resource
import sys
import time
from collections import deque
from dataclasses import dataclass

from aiohttp import web

from infra.simulator.content import Writer
from infra.simulator.frames import Frame, http_chunk
from infra.simulator.status import iso, status_json

HOST, DOMAIN = "127.0.0.1", "many.example"
HOME_SERVERS = 100
"""Of the authors."""
DRAFTS = 2_000
THUMP_SECONDS = 15.0
MAX_UNREAD_BYTES = 128 * 1024
"""Of a stream, before its server publishes no more: it would use up the memory otherwise."""
_THUMP = http_chunk(b":thump\n\n")
_FIRST_NUMBER = 200_000_000_000_000_000


@dataclass(frozen=True)
class Draft:
    """A toot as JSON, of which id, number (within its addresses) and time can be replaced."""

    payload: bytes
    status_id: bytes
    number: bytes
    created_at: bytes

    @classmethod
    def by(cls, writer: Writer, server: str, at: int) -> "Draft":
        """Write a draft of a toot by one of the server's authors; `at` is in UTC milliseconds."""
        toot, status_id = writer.toot(server, at), at << 16
        return cls(
            status_json(toot, server, status_id),
            b"%d" % status_id,
            toot.uri.rpartition("/")[2].encode(),
            iso(at).encode(),
        )

    def published(self, status_id: int, number: int, created_at: str) -> bytes:
        """Return a toot of its own that says the same."""
        return (
            self.payload.replace(self.status_id, b"%d" % status_id)
            .replace(self.number, b"%d" % number)
            .replace(self.created_at, created_at.encode())
        )


class ManyServers:
    """The servers, which are distinguished by the port of a request."""

    def __init__(self, ports: range) -> None:
        self._ports = ports
        self._streams: dict[int, web.Request] = {}
        self._listed: dict[int, deque[tuple[int, bytes]]] = {p: deque(maxlen=400) for p in ports}
        self._attempts: list[float] = []
        self._opened: list[float] = []
        self._published = self._withheld = 0
        self._most_at_one = 0
        self._rate = 0.0
        self._rng = random.Random(7)
        domains = [f"home{number}.example" for number in range(HOME_SERVERS)]
        writer = Writer.with_new_authors(domains, self._rng)
        now = int(time.time() * 1000)
        self._drafts = [Draft.by(writer, self._rng.choice(domains), now) for _ in range(DRAFTS)]
        self._last_id = 0

    def application(self) -> web.Application:
        """Return the application of every server."""
        app = web.Application()
        for path, handler in (
            ("/api/v2/instance", self._instance),
            ("/api/v1/timelines/public", self._timeline),
            ("/api/v1/streaming", self._stream),
            ("/api/v1/streaming/public/local", self._stream),
        ):
            app.router.add_get(path, handler)
            app.router.add_get(f"{path}/", handler)
        return app

    def control(self) -> web.Application:
        """Return the application of the control port."""
        app = web.Application()
        app.router.add_get("/counts", self._counts)
        app.router.add_post("/rate", self._set_rate)
        app.router.add_post("/cut", self._cut)
        return app

    async def thump(self) -> None:
        """Send each stream a thump every 15 s, evenly spread over time, forever."""
        while True:
            for port in self._ports:
                await asyncio.sleep(THUMP_SECONDS / len(self._ports))
                self._write(port, _THUMP)

    async def publish(self) -> None:
        """Publish toots at the current rate on random servers, forever."""
        due = 0.0
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.01)
            now = time.monotonic()
            due, last = due + (now - last) * self._rate, now
            at = int(time.time() * 1000)
            created_at = iso(at)
            while due >= 1:
                due -= 1
                port = self._rng.choice(self._ports)
                if self._unread_bytes(port) > MAX_UNREAD_BYTES:
                    self._withheld += 1
                else:
                    self._publish(port, at, created_at)

    def _publish(self, port: int, at: int, created_at: str) -> None:
        self._last_id = max(self._last_id + 1, at << 16)
        payload = self._rng.choice(self._drafts).published(
            self._last_id, _FIRST_NUMBER + self._published, created_at
        )
        self._listed[port].append((self._last_id, payload))
        self._published += 1
        self._write(port, Frame("update", payload).chunks)

    def _write(self, port: int, chunk: bytes) -> None:
        request = self._streams.get(port)
        if request is not None and request.transport is not None:
            request.transport.write(chunk)

    def _unread_bytes(self, port: int) -> int:
        """Return how much the listener has left of this server's stream, in this process."""
        request = self._streams.get(port)
        transport = request.transport if request is not None else None
        return transport.get_write_buffer_size() if transport is not None else 0

    async def _instance(self, request: web.Request) -> web.Response:
        streaming = f"ws://{request.host}"
        feeds = {"live_feeds": {"local": "public", "remote": "authenticated"}}
        configuration = {"urls": {"streaming": streaming}, "timelines_access": feeds}
        return web.json_response(
            {"domain": DOMAIN, "version": "4.5.3", "configuration": configuration}
        )

    async def _timeline(self, request: web.Request) -> web.Response:
        after = int(request.query.get("min_id", "0"))
        listed = [toot for toot in self._listed[_port(request)] if toot[0] > after]
        page = listed[:40] if "min_id" in request.query else listed[-40:]
        return web.Response(
            body=b"[" + b",".join(payload for _, payload in reversed(page)) + b"]",
            content_type="application/json",
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        port = _port(request)
        self._attempts.append(time.monotonic())
        self._most_at_one = max(self._most_at_one, 1 + (port in self._streams))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b":)\n")
        self._streams[port] = request
        self._opened.append(time.monotonic())
        try:
            await asyncio.Event().wait()
        finally:
            if self._streams.get(port) is request:
                del self._streams[port]
        return response

    async def _counts(self, request: web.Request) -> web.Response:
        since = float(request.query.get("since", 0))
        return web.json_response(
            {
                "open": len(self._streams),
                "published": self._published,
                "withheld": self._withheld,
                "attempts": [at for at in self._attempts if at >= since],
                "opened": [at for at in self._opened if at >= since],
                "most_at_one": self._most_at_one,
            }
        )

    async def _set_rate(self, request: web.Request) -> web.Response:
        self._rate = float(request.query["toots"])
        return web.json_response({})

    async def _cut(self, request: web.Request) -> web.Response:
        at = time.monotonic()
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            if stream.transport is not None:
                stream.transport.abort()
        return web.json_response({"at": at, "streams": len(streams)})


def _port(request: web.Request) -> int:
    assert request.transport is not None
    return int(request.transport.get_extra_info("sockname")[1])


async def serve(first_port: int, servers: int) -> None:
    """Serve forever; the first port is the control port. Prints `ready` once all are open."""
    ports = range(first_port + 1, first_port + 1 + servers)
    many = ManyServers(ports)
    control = web.AppRunner(many.control(), access_log=None)
    runner = web.AppRunner(many.application(), access_log=None, handler_cancellation=True)
    await control.setup()
    await runner.setup()
    await web.TCPSite(control, HOST, first_port).start()
    for port in ports:
        await web.TCPSite(runner, HOST, port).start()
    print(json.dumps("ready"), flush=True)
    await asyncio.gather(many.thump(), many.publish())


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
