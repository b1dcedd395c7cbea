"""The streaming half of a server: Server-Sent Events as Mastodon's streaming server writes them.

On the wire: `:)` at once, `:thump` at an interval, an event in two HTTP chunks (its name, then its
data), no ids and no replay: what happens while a client is away is never sent to it.

See: Mastodon's streaming/index.js; https://docs.joinmastodon.org/methods/streaming/
"""

import asyncio
from collections import deque
from typing import Protocol

from aiohttp import web

from infra.simulator.frames import Frame, Wire, http_chunk
from infra.simulator.websocket_streams import WebSocketStream

_BACKLOG = 200_000  # frames; beyond, the client is cut off, as a proxy before Mastodon would
_SENT_AT_ONCE = 1 << 20  # bytes waiting in the socket before more are handed to it
_THUMP = http_chunk(b":thump\n\n")


class Stream(Protocol):
    """One client's open stream on one channel."""

    channel: str

    def send(self, frame: Frame) -> None:
        """Queues a frame."""

    def beat(self) -> None:
        """Shows that the server is there."""

    def cut(self) -> None:
        """Resets the connection, as a crashing server or a proxy would."""

    def end(self) -> None:
        """Ends it in good order once all that waits is sent, as a restart would."""

    async def serve(self) -> web.StreamResponse:
        """Answers the request with the stream until it is ended, cut or left by the client."""


class EventStream:
    """A stream of Server-Sent Events."""

    def __init__(self, request: web.Request, channel: str, wire: Wire) -> None:
        self.channel = channel
        self._request = request
        self._wire = wire
        self._waiting: deque[Frame | None] = deque()  # None: a thump
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, frame: Frame) -> None:
        """Queues a frame; a client too slow to take its backlog is cut off."""
        self._queue(frame)

    def beat(self) -> None:
        """A comment, which readers of events skip."""
        self._queue(None)

    def cut(self) -> None:
        """Resets the connection."""
        self.end()
        if self._request.transport is not None:
            self._request.transport.abort()

    def end(self) -> None:
        """Ends the response in good order once all that waits is sent."""
        self._closed = True
        self._wake.set()

    async def serve(self) -> web.StreamResponse:
        """Answers the request with the stream."""
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

    def _queue(self, frame: Frame | None) -> None:
        if self._closed:
            return
        self._waiting.append(frame)
        self._wake.set()
        if len(self._waiting) > _BACKLOG:
            self.cut()

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
            if self._wire.piece_bytes or self._wire.line_end != b"\n":
                await self._flush_in_pieces(transport, taken)
            else:
                transport.write(b"".join(frame.chunks if frame else _THUMP for frame in taken))

    async def _flush_in_pieces(
        self, transport: asyncio.WriteTransport, frames: list[Frame | None]
    ) -> None:
        for frame in frames:
            for piece in frame.pieces(self._wire) if frame else [_THUMP]:
                transport.write(piece)
                await asyncio.sleep(0)  # lets a client in this loop's process see it alone


class Streams:
    """All open streams of one server."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()
        self.wire = Wire()
        self.most_at_once = 0
        """The highest number of streams that were open together."""

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, channel: str) -> web.StreamResponse:
        """Keeps a client's stream for as long as it lasts; a WebSocket where it asks for one."""
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        stream: Stream = (
            WebSocketStream(request, channel, self.wire)
            if websocket
            else EventStream(request, channel, self.wire)
        )
        self._open.add(stream)
        self.most_at_once = max(self.most_at_once, len(self._open))
        try:
            return await stream.serve()
        finally:
            self._open.discard(stream)

    def send(self, frame: Frame, local: bool, media: bool) -> int:
        """Sends to every channel that carries such a toot; how many streams that were.

        Nothing is kept for streams that are silent or not there: that loss is what a listener
        has to make good from the timeline.
        """
        if self.wire.silent:
            return 0
        side = "public:local" if local else "public:remote"
        channels = {"public", side} | ({"public:media", f"{side}:media"} if media else set())
        reached = [stream for stream in self._open if stream.channel in channels]
        for stream in reached:
            stream.send(frame)
        return len(reached)

    def send_to_all(self, frame: Frame) -> int:
        """Sends to every stream, whatever its channel."""
        if self.wire.silent:
            return 0
        for stream in self._open:
            stream.send(frame)
        return len(self._open)

    async def thump(self, seconds: float) -> None:
        """Keeps streams alive with a heartbeat every so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            if not self.wire.silent:
                for stream in self._open:
                    stream.beat()

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
