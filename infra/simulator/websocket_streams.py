"""Streams by WebSocket: Mastodon offers them beside its event streams, GoToSocial nothing else.

Heartbeats are WebSocket pings; nothing is replayed.
"""

import asyncio
import contextlib
from collections import deque

from aiohttp import WSMsgType, web

from infra.simulator.frames import Frame, Wire


class WebSocketStream:
    """One client's open WebSocket on one channel; a `streams.Stream`."""

    def __init__(self, request: web.Request, channel: str, wire: Wire) -> None:
        self.channel = channel
        self._wire = wire
        self._request = request
        self._waiting: deque[str | None] = deque()  # None: a ping
        self._wake = asyncio.Event()
        self._closed = False

    def send(self, frame: Frame) -> None:
        """Queues a frame."""
        self._waiting.append(frame.message(self.channel))
        self._wake.set()

    def beat(self) -> None:
        """Queues a ping."""
        self._waiting.append(None)
        self._wake.set()

    def cut(self) -> None:
        """Resets the connection."""
        self.end()
        if self._request.transport is not None:
            self._request.transport.abort()

    def end(self) -> None:
        """Closes in good order once all that waits is sent."""
        self._closed = True
        self._wake.set()

    async def serve(self) -> web.StreamResponse:
        """Answers the request with the stream until it is ended, cut or left by the client."""
        response = web.WebSocketResponse(compress=False, autoping=False)
        await response.prepare(self._request)
        reading = asyncio.create_task(self._read(response))
        try:
            while not self._closed:
                await self._wake.wait()
                self._wake.clear()
                await self._flush(response)
            # 1001: the server is going away (RFC 6455, section 7.4.1).
            await response.close(code=1001)
        except ConnectionError:
            pass  # The client has left.
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, RuntimeError):
                await reading
        return response

    async def _flush(self, response: web.WebSocketResponse) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            if message is None:
                await response.ping(b": ping")
            else:
                await response.send_str(message)

    async def _read(self, response: web.WebSocketResponse) -> None:
        async for message in response:  # Clients may subscribe to more; ours never does.
            if message.type is WSMsgType.PING and not self._wire.silent:
                await response.pong(message.data)
        self.end()
