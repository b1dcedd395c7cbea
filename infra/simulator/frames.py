"""An event as it is sent to a client, in two forms.

Server-Sent Events: the event in two HTTP chunks, its name, then its data, no id. WebSocket: a
JSON object whose payload is JSON in a string. See:
https://docs.joinmastodon.org/methods/streaming/#events
"""

import json
from dataclasses import dataclass
from functools import cached_property


def http_chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked HTTP body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Wire:
    """How a server's streams are sent over the network; can change while they are open."""

    silent: bool = False
    """A half-open connection: streams stay open, but nothing arrives, not even heartbeats."""
    piece_bytes: int = 0
    """The size of HTTP chunks, each sent alone; 0: two chunks per event, as Mastodon sends them."""
    line_end: bytes = b"\n"
    """The line end; the specification also allows CRLF and CR."""


@dataclass(frozen=True)
class Frame:
    """An event, formatted once for all clients."""

    event: str
    payload: bytes

    @cached_property
    def chunks(self) -> bytes:
        """The event in two HTTP chunks, as Mastodon's streaming server sends it."""
        return http_chunk(b"event: %b\n" % self.event.encode()) + http_chunk(
            b"data: %b\n\n" % self.payload
        )

    def pieces(self, wire: Wire) -> list[bytes]:
        """Return the event in other HTTP chunks and with other line ends."""
        text = b"event: %b\ndata: %b\n\n" % (self.event.encode(), self.payload)
        text = text.replace(b"\n", wire.line_end)
        size = wire.piece_bytes or len(text)
        return [http_chunk(text[start : start + size]) for start in range(0, len(text), size)]

    def message(self, channel: str) -> str:
        """Return the WebSocket message; as it is text, invalid UTF-8 becomes U+FFFD."""
        payload = self.payload.decode("utf-8", "replace")
        return json.dumps({"stream": [channel], "event": self.event, "payload": payload})
