"""An event on its way to a client, in the two forms that streams have.

Server-Sent Events: the event in two HTTP chunks, its name, then its data, no id. WebSocket: a
JSON object whose payload is JSON in a string. See:
https://docs.joinmastodon.org/methods/streaming/#events
"""

import json
from dataclasses import dataclass
from functools import cached_property


def http_chunk(data: bytes) -> bytes:
    """One chunk of a chunked HTTP body (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class Wire:
    """How a server's event streams go over the network; changed while they are open."""

    silent: bool = False
    """A half-open network: streams stay open, nothing arrives, heartbeats neither."""
    piece_bytes: int = 0
    """Cut everything into HTTP chunks of so many bytes, each sent alone; 0: two chunks an event."""
    line_end: bytes = b"\n"
    """How lines end; the specification allows CRLF and CR too."""


@dataclass(frozen=True)
class Frame:
    """One event; formatted once, however many clients it goes to."""

    event: str
    payload: bytes

    @cached_property
    def chunks(self) -> bytes:
        """As Mastodon's streaming server writes it: two HTTP chunks."""
        return http_chunk(b"event: %b\n" % self.event.encode()) + http_chunk(
            b"data: %b\n\n" % self.payload
        )

    def pieces(self, wire: Wire) -> list[bytes]:
        """The same in other HTTP chunks and with other line ends."""
        text = b"event: %b\ndata: %b\n\n" % (self.event.encode(), self.payload)
        text = text.replace(b"\n", wire.line_end)
        size = wire.piece_bytes or len(text)
        return [http_chunk(text[start : start + size]) for start in range(0, len(text), size)]

    def message(self, channel: str) -> str:
        """The WebSocket message; bytes that are no UTF-8 become U+FFFD, for messages are text."""
        payload = self.payload.decode("utf-8", "replace")
        return json.dumps({"stream": [channel], "event": self.event, "payload": payload})
