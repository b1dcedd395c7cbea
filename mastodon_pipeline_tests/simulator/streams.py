"""The streaming half of a server: Server-Sent Events as Mastodon's streaming server writes them.

On the wire: `:)` at once, `:thump` at an interval, an event in two HTTP chunks (its name, then its
data), no ids and no replay: what happens while a client is away is never sent to it.

See: Mastodon's streaming/index.js; https://docs.joinmastodon.org/methods/streaming/
"""

import asyncio
from collections import deque

from aiohttp import web

CHANNELS = (
    "public",
    "public:local",
    "public:remote",
    "public:media",
    "public:local:media",
    "public:remote:media",
)
_BACKLOG = 200_000  # frames; beyond, the client is cut off, as a proxy before Mastodon would
_SENT_AT_ONCE = 1 << 20  # bytes waiting in the socket before more are handed to it


def http_chunk(data: bytes) -> bytes:
    """One chunk of a chunked HTTP body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event_frame(event: str, payload: bytes) -> bytes:
    """An event as it goes over the wire: two HTTP chunks."""
    return http_chunk(b"event: %b\n" % event.encode()) + http_chunk(b"data: %b\n\n" % payload)


class Stream:
    """One client's open stream on one channel."""

    def __init__(self, request: web.Request, channel: str) -> None:
        self.channel = channel
        self._request = request
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, frame: bytes) -> None:
        """Queues a frame; a client too slow to take its backlog is cut off."""
        if self._closed:
            return
        self._waiting.append(frame)
        self._wake.set()
        if len(self._waiting) > _BACKLOG:
            self.cut()

    def cut(self) -> None:
        """Resets the connection, as a crashing server or a proxy would."""
        self._closed = True
        self._wake.set()
        if self._request.transport is not None:
            self._request.transport.abort()

    def end(self) -> None:
        """Ends the response in good order once all that waits is sent, as a restart would."""
        self._closed = True
        self._wake.set()

    async def serve(self) -> web.StreamResponse:
        """Answers the request with the stream until it is ended, cut or left by the client."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "private, no-store"}
        )
        response.enable_chunked_encoding()
        await response.prepare(self._request)
        await response.write(b":)\n")
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()
            if self._closed:
                return response

    async def _flush(self) -> None:
        # Frames bear their chunk framing, so that one write carries many of them unchanged.
        while self._waiting:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has left the stream")
            if transport.get_write_buffer_size() > _SENT_AT_ONCE:
                await asyncio.sleep(0.005)
                continue
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), 512))]
            transport.write(b"".join(taken))


class Streams:
    """All open streams of one server."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self.silent = False
        """A half-open network: streams stay open, nothing arrives, thumps neither."""

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, channel: str) -> web.StreamResponse:
        """Keeps a client's stream for as long as it lasts."""
        stream = Stream(request, channel)
        self._open.add(stream)
        try:
            return await stream.serve()
        finally:
            self._open.discard(stream)

    def send(self, frame: bytes, local: bool, media: bool) -> int:
        """Sends to every channel that carries such a toot; how many streams that were.

        Nothing is kept for streams that are silent or not there: that loss is what a listener
        has to make good from the timeline.
        """
        if self.silent:
            return 0
        side = "public:local" if local else "public:remote"
        channels = {"public", side} | ({"public:media", f"{side}:media"} if media else set())
        reached = [stream for stream in self._open if stream.channel in channels]
        for stream in reached:
            stream.send(frame)
        return len(reached)

    def send_to_all(self, frame: bytes) -> int:
        """Sends to every stream, whatever its channel."""
        if self.silent:
            return 0
        for stream in self._open:
            stream.send(frame)
        return len(self._open)

    async def thump(self, seconds: float) -> None:
        """Keeps streams alive with a comment every so many seconds, for ever."""
        beat = http_chunk(b":thump\n\n")
        while True:
            await asyncio.sleep(seconds)
            self.send_to_all(beat)

    def cut(self) -> int:
        """Resets every connection; how many there were."""
        streams = list(self._open)
        for stream in streams:
            stream.cut()
        return len(streams)

    def end(self) -> None:
        """Ends every stream in good order."""
        for stream in list(self._open):
            stream.end()
