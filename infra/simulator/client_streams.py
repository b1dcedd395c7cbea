"""One client's open stream: Server-Sent Events as Mastodon writes them, or a WebSocket.

On the wire, Server-Sent Events are `:)` at once, `:thump` as heartbeat, and each event in two HTTP
chunks (its name, then its data), without ids. On a WebSocket, which Mastodon offers too and
GoToSocial only, the heartbeat is a ping. Neither replays what a client missed.

See: Mastodon's streaming/index.js; https://docs.joinmastodon.org/methods/streaming/
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque

from aiohttp import WSMsgType, web

from infra.simulator.frames import Frame, Wire, http_chunk

_MAX_BACKLOG = 200_000
"""Frames; a client that falls further behind is cut off, as by a proxy before Mastodon."""
_MAX_BUFFERED_BYTES = 1 << 20
"""No more is handed to a socket that has this much to send."""
_THUMP = http_chunk(b":thump\n\n")


class ClientStream(ABC):
    """A stream on one channel; frames are queued here and sent by `serve`."""

    def __init__(self, request: web.Request, channel: str, wire: Wire) -> None:
        self.channel = channel
        self._request = request
        self._wire = wire
        self._queue: deque[Frame | None] = deque()  # None: a heartbeat
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, frame: Frame | None) -> None:
        """Queue a frame, or a heartbeat; a client with too long a queue is cut off."""
        if self._closed:
            return
        self._queue.append(frame)
        self._wake.set()
        if len(self._queue) > _MAX_BACKLOG:
            self.cut()

    def cut(self) -> None:
        """Reset the connection, as a crashing server or a proxy would."""
        self.end()
        if self._request.transport is not None:
            self._request.transport.abort()

    def end(self) -> None:
        """Close the stream once the queue is sent, as a restarting server would."""
        self._closed = True
        self._wake.set()

    @abstractmethod
    async def serve(self) -> web.StreamResponse:
        """Answer the request with the stream until it is ended, cut or left by the client."""

    @abstractmethod
    async def _flush(self) -> None:
        """Send the queue."""

    async def _flush_until_closed(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()
            if self._closed:
                return


class EventStream(ClientStream):
    """A stream of Server-Sent Events."""

    async def serve(self) -> web.StreamResponse:
        """Answer the request with the stream until it is ended, cut or left by the client."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "private, no-store"}
        )
        response.enable_chunked_encoding()
        await response.prepare(self._request)
        await response.write(b":)\n")
        await self._flush_until_closed()
        return response

    async def _flush(self) -> None:
        # Frames include their chunk framing, so that a single write carries many of them.
        while self._queue:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ConnectionResetError("the client has left the stream")
            if transport.get_write_buffer_size() > _MAX_BUFFERED_BYTES:
                await asyncio.sleep(0.005)
                continue
            frames = [self._queue.popleft() for _ in range(min(len(self._queue), 512))]
            if self._wire.piece_bytes or self._wire.line_end != b"\n":
                await self._write_in_pieces(transport, frames)
            else:
                transport.write(b"".join(frame.chunks if frame else _THUMP for frame in frames))

    async def _write_in_pieces(
        self, transport: asyncio.WriteTransport, frames: list[Frame | None]
    ) -> None:
        for frame in frames:
            for piece in frame.pieces(self._wire) if frame else [_THUMP]:
                transport.write(piece)
                await asyncio.sleep(0)  # so that a client in the same loop sees each piece alone


class WebSocketStream(ClientStream):
    """A WebSocket."""

    def __init__(self, request: web.Request, channel: str, wire: Wire) -> None:
        super().__init__(request, channel, wire)
        self._response = web.WebSocketResponse(compress=False, autoping=False)

    async def serve(self) -> web.StreamResponse:
        """Answer the request with the stream until it is ended, cut or left by the client."""
        await self._response.prepare(self._request)
        reading = asyncio.create_task(self._read())
        try:
            await self._flush_until_closed()
            # 1001: the server is going away (RFC 6455, section 7.4.1).
            await self._response.close(code=1001)
        except ConnectionError:
            pass  # The client has left.
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, RuntimeError):
                await reading
        return self._response

    async def _flush(self) -> None:
        while self._queue:
            frame = self._queue.popleft()
            if frame is None:
                await self._response.ping(b": ping")
            else:
                await self._response.send_str(frame.message(self.channel))

    async def _read(self) -> None:
        async for message in self._response:  # Clients may subscribe to more; ours never does.
            if message.type is WSMsgType.PING and not self._wire.silent:
                await self._response.pong(message.data)
        self.end()
