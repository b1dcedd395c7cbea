"""Server-sent events from blocks of bytes, however the network divides them.

See: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
Mastodon sends `:)` on connecting, the comment `:thump` every 15 s, and each event in two HTTP
chunks; it sends no ids and replays nothing.
"""

import msgspec

MAX_EVENT_BYTES = 4 * 1024 * 1024
"""An event's data beyond this is cut off and marked, so that no server can exhaust our memory."""
_NAMES = {name.encode(): name for name in ("update", "status.update", "delete")}
_COLON = ord(":")


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as it was received."""

    name: str
    """`message` if the server gave none."""
    data: bytes
    cut: bool = False
    """True if the event was larger than the limit: `data` is its beginning."""


class EventParser:
    """Turns blocks of bytes into events; buffers an incomplete event until the next block.

    An event that is incomplete at the end of the stream is dropped, as the specification says: its
    toot is read again when the gap is filled.
    """

    __slots__ = (
        "_cut",
        "_data",
        "_data_bytes",
        "_ended_with_cr",
        "_first_line",
        "_line",
        "_line_bytes",
        "_max",
        "_name",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
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
        """Return the events that this block completes, in order."""
        if b"\r" in block or self._ended_with_cr:
            block = self._with_lf_line_ends(block)
        lines = block.split(b"\n")
        rest = lines.pop()
        events: list[ServerSentEvent] = []
        if lines:
            if self._line:
                self._buffer(lines[0])
                lines[0] = b"".join(self._line)
                self._line, self._line_bytes = [], 0
            if self._first_line:
                self._first_line = False
                lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
            for line in lines:
                if not line:
                    if self._data:
                        events.append(self._complete())
                    self._name = ""
                elif line[0] != _COLON:  # A colon starts a comment, such as a heartbeat.
                    self._take_field(line)
        if rest:
            self._buffer(rest)
        return events

    def _with_lf_line_ends(self, block: bytes) -> bytes:
        # CR, LF and CRLF all end a line; a CRLF may be divided between two blocks.
        if not block:
            return block
        if self._ended_with_cr and block[0] == ord("\n"):
            block = block[1:]
        self._ended_with_cr = block.endswith(b"\r")
        return block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _buffer(self, part: bytes) -> None:
        room = self._max + 64 - self._line_bytes  # 64 bytes for the field's name.
        # The rest is dropped; `_take_field` sees by the length that the line was cut.
        if room > 0:
            self._line.append(part[:room])
            self._line_bytes += min(len(part), room)

    def _take_field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            room = self._max - self._data_bytes
            if len(value) > room:
                self._cut = True
                value = value[: max(room, 0)]
            if room > 0:
                self._data.append(value)
                self._data_bytes += len(value) + 1
        elif field == b"event":
            self._name = _NAMES.get(value) or value[:200].decode("utf-8", "replace")

    def _complete(self) -> ServerSentEvent:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = ServerSentEvent(self._name or "message", data, self._cut)
        self._data, self._data_bytes, self._cut = [], 0, False
        return event
