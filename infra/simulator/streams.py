"""All open streams of a server, and which of them an event is sent to."""

import asyncio

from aiohttp import web

from infra.simulator.client_streams import ClientStream, EventStream, WebSocketStream
from infra.simulator.frames import Frame, Wire


class Streams:
    """All open streams of a server."""

    def __init__(self) -> None:
        self._open: set[ClientStream] = set()
        self.wire = Wire()
        self.subscribed = True
        """False: events are lost, heartbeats go on, as when Redis drops a subscription."""
        self.most_at_once = 0
        """The highest number of streams that were open at the same time."""

    def __len__(self) -> int:
        return len(self._open)

    async def serve(self, request: web.Request, channel: str) -> web.StreamResponse:
        """Serve a client's stream until it ends: a WebSocket if it asks for one, else SSE."""
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        stream_class = WebSocketStream if websocket else EventStream
        stream = stream_class(request, channel, self.wire)
        self._open.add(stream)
        self.most_at_once = max(self.most_at_once, len(self._open))
        try:
            return await stream.serve()
        finally:
            self._open.discard(stream)

    def send(self, frame: Frame, local: bool, media: bool) -> int:
        """Send to every channel that carries such a toot; return the number of streams.

        Nothing is stored for streams that are silent or closed: a listener has to recover that
        loss from the timeline.
        """
        if not self.subscribed:
            return 0
        side = "public:local" if local else "public:remote"
        channels = {"public", side} | ({"public:media", f"{side}:media"} if media else set())
        return self._send(frame, [stream for stream in self._open if stream.channel in channels])

    def send_to_all(self, frame: Frame | None) -> int:
        """Send a frame, or a heartbeat (None), to every stream; return the number of streams."""
        return self._send(frame, list(self._open))

    async def thump(self, seconds: float) -> None:
        """Send a heartbeat to every stream every `seconds`, forever."""
        while True:
            await asyncio.sleep(seconds)
            self.send_to_all(None)

    def cut(self) -> int:
        """Reset every connection; return the number of streams."""
        streams = list(self._open)
        for stream in streams:
            stream.cut()
        return len(streams)

    def end(self) -> None:
        """Close every stream once its queue is sent."""
        for stream in list(self._open):
            stream.end()

    def _send(self, frame: Frame | None, streams: list[ClientStream]) -> int:
        if self.wire.silent:
            return 0
        for stream in streams:
            stream.send(frame)
        return len(streams)
