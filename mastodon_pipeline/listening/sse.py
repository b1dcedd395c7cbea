"""Server-sent events from blocks of bytes, however the network cut them.

See: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
Mastodon sends `:)` on connecting, the comment `:thump` every 15 s, and each event in two HTTP
chunks; it sends no ids and replays nothing.
"""

from dataclasses import dataclass

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""An event's data beyond this is cut off and marked, so that no server can fill our memory."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event as it stood on the wire."""

    name: str
    """`message` where the server gave none."""
    data: bytes
    cut: bool = False
    """True where the event was larger than the limit: `data` is its beginning."""


class EventParser:
    """Turns blocks of bytes into events; keeps what is unfinished for the next block.

    An event that the end of the stream cut short is dropped, as the specification says: its toot
    is fetched again when the gap is filled.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.comments = 0
        """Comment lines so far; Mastodon's heartbeats are comments."""
        self._max = max_event_bytes
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._cut = False
        self._first_line = True
        self._ended_with_cr = False

    def feed(self, block: bytes) -> list[ServerSentEvent]:
        """The events that this block completes, in order."""
        if not block:
            return []
        if self._ended_with_cr and block.startswith(b"\n"):
            block = block[1:]
            self._ended_with_cr = False
            if not block:
                return []
        self._ended_with_cr = block.endswith(b"\r")
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = block.split(b"\n")
        events: list[ServerSentEvent] = []
        for line in lines:
            if self._line:
                self._keep(line)
                line = b"".join(self._line)
                self._line, self._line_bytes = [], 0
            event = self._take(line)
            if event is not None:
                events.append(event)
        if rest:
            self._keep(rest)
        return events

    def _keep(self, part: bytes) -> None:
        room = self._max + 64 - self._line_bytes  # 64 bytes: a field's name is part of its line
        if (
            room > 0
        ):  # What lies beyond is dropped here; `_take` sees by the length that it was cut.
            self._line.append(part[:room])
            self._line_bytes += min(len(part), room)

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._complete()
        if line.startswith(b":"):
            self.comments += 1
            return None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            room = self._max - self._data_bytes
            self._cut = self._cut or len(value) > room
            if room > 0:
                self._data.append(value[:room])
                self._data_bytes += len(value[:room]) + 1
        elif field == b"event":
            self._name = value[:200].decode("utf-8", "replace")
        return None

    def _complete(self) -> ServerSentEvent | None:
        event = None
        if self._data:
            event = ServerSentEvent(self._name or "message", b"\n".join(self._data), self._cut)
        self._data, self._data_bytes, self._name, self._cut = [], 0, "", False
        return event
