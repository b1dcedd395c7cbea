"""Hostile event streams, together with what a reader should make of them.

A stream is built from a script of bytes, so that hypothesis, which draws the bytes, draws the
stream, cheaply, and can shrink one that fails. The expected events are known from building the
stream, not from a parser.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from infra.simulator.faults import MALFORMED, ODD, odd_status

Fate = Literal["toot", "delete", "dead", "toot or dead", "ignored"]
LINE_ENDS = (b"\n", b"\r\n", b"\r")
OVERSIZED_BYTES = 4 * 1024 * 1024 + 1
"""One more than an event may have."""
_UPDATES = ("update", "status.update")
_OTHERS = ("filters_changed", "notification", "announcement", "\N{BUG}", "")
_COMMENTS = (b":", b":thump", b"id: 7", b"retry: 0", b"\xff\xfe", b"data2: x", b"\0")
"""Lines that change no event, not even in its middle."""
_NOISE = (*_COMMENTS, b"", b"event", b"event: update")
"""Lines that are no event if no data follows."""
_TEXTS = (
    "<p>plain</p>",
    "<p>\N{SNOWMAN} \U0001f98b caf\N{LATIN SMALL LETTER E WITH ACUTE}</p>",
    "<p>a\u2028b\u0085c</p>",  # ends of lines to Unicode, not to this protocol
    "",
    "<p>&#0;&#xd800;&amp;</p>",
)


class Script:
    """A source of small numbers: the next byte, and 0 after the last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def __bool__(self) -> bool:
        return self._place < len(self._data)

    def below(self, bound: int) -> int:
        """Return a number from 0 to `bound` - 1, which is at most 255."""
        self._place += 1
        return self._data[self._place - 1] % bound if self._place <= len(self._data) else 0


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """One complete event of a stream."""

    name: str
    data: bytes
    """What a reader should join from its data lines."""
    fate: Fate
    uri: str = ""
    """The uri of a toot."""
    oversized: bool = False


@dataclass(slots=True)
class HostileStream:
    """The stream's blocks as a network may have cut them, and the events that are in it."""

    blocks: list[bytes]
    events: list[KnownEvent]


@dataclass(slots=True)
class _Building:
    script: Script
    wire: bytearray = field(default_factory=bytearray)
    events: list[KnownEvent] = field(default_factory=list)

    def event(self, name: str, data: bytes, fate: Fate, uri: str = "") -> None:
        """Write a complete event; the script decides how its lines end and are divided."""
        style = self.script.below(12)
        end = LINE_ENDS[style % 3]
        values = data.split(b"\n")
        # One space after the colon is not part of the value.
        spaced = style % 2 or any(value.startswith(b" ") for value in values)
        colon = b": " if spaced else b":"
        lines = [b"event%b%b" % (colon, name.encode())] if name else []
        lines += [b"data%b%b" % (colon, value) for value in values]
        if style == 11 and name:
            lines.append(lines.pop(0))  # the name may come last
        if style == 10:
            lines.insert(1, _COMMENTS[self.script.below(len(_COMMENTS))])
        self.wire += b"".join(line + end for line in lines) + end
        self.events.append(KnownEvent(name or "message", data, fate, uri))


def hostile_stream(data: bytes) -> HostileStream:
    """Return the stream whose script these bytes are."""
    script = Script(data)
    cutting, opening = script.below(256), script.below(4)
    building = _Building(script)
    building.wire += (b":)\n", b"\xef\xbb\xbf", b"", b"\n\n:thump\n\n")[opening]
    while script:
        _KINDS[script.below(len(_KINDS))](building)
    if cutting % 5 == 4:
        # Cut off within the data: no event, whatever the server had in mind.
        building.wire += b'event: update\ndata: {"id": "1", "uri": "unfinished"}'
    return HostileStream(_cut(bytes(building.wire), cutting), building.events)


def _valid(building: _Building) -> None:
    script = building.script
    number = len(building.events)
    uri, payload = _status(number, _TEXTS[script.below(len(_TEXTS))])
    building.event(_UPDATES[script.below(2)], payload, "toot", uri)


def _spread(building: _Building) -> None:
    # White space between tokens: the payload has lines, each a data line.
    script = building.script
    uri, payload = _status(len(building.events), "<p>lines</p>")
    spread = json.dumps(json.loads(payload), indent=script.below(3)).encode()
    building.event("update", spread, "toot", uri)


def _odd(building: _Building) -> None:
    names = sorted(ODD)
    number = len(building.events)
    uri, payload = odd_status(names[building.script.below(len(names))], "hostile.example", number)
    building.event("update", payload, "toot", uri)


def _malformed(building: _Building) -> None:
    names = sorted(MALFORMED)
    payload = MALFORMED[names[building.script.below(len(names))]]
    building.event(_UPDATES[building.script.below(2)], payload, "dead")


def _mutated(building: _Building) -> None:
    # Bytes overwritten, inserted or cut out anywhere: still one event, whatever it has become.
    script = building.script
    _, payload = _status(len(building.events), "<p>mutated</p>")
    mutant = bytearray(payload)
    for _ in range(1 + script.below(4)):
        place = (script.below(256) * 256 + script.below(256)) % len(mutant)
        byte = script.below(256)
        value = bytes([0x20 if byte in b"\r\n" else byte])
        how = script.below(3)
        mutant[place : place + (how != 1)] = value if how < 2 else b""
    building.event("update", bytes(mutant), "toot or dead")


def _replaced(building: _Building) -> None:
    # A field of another kind than it should be.
    script = building.script
    _, payload = _status(len(building.events), "<p>replaced</p>")
    status = json.loads(payload)
    name = sorted(status)[script.below(len(status))]
    values: tuple[object, ...] = (
        None,
        [],
        {},
        -1,
        2**80,
        "",
        "\0",
        "x" * 300,
        [None],
        True,
        1e308,
        "\ud800",
        [[]] * 9,
    )
    status[name] = values[script.below(len(values))]
    building.event("update", json.dumps(status).encode(), "toot or dead")


def _delete(building: _Building) -> None:
    ids = (b"1", b"01FC3TZ5CFG6H65GCKCJRKA669", b'"109"', b"AbC_-9", b"9" * 30)
    building.event("delete", ids[building.script.below(len(ids))], "delete")


def _bad_delete(building: _Building) -> None:
    ids = (b"", b" ", b'""', b"\xff", b"x" * 201, b"\xed\xa0\x80")
    building.event("delete", ids[building.script.below(len(ids))], "dead")


def _other(building: _Building) -> None:
    name = _OTHERS[building.script.below(len(_OTHERS))]
    building.event(name, b'{"any": "thing"}', "ignored")


def _noise(building: _Building) -> None:
    noise = _NOISE[building.script.below(len(_NOISE))]
    building.wire += noise + b"\n" * (1 + building.script.below(2)) + b"\n"


def _oversized(building: _Building) -> None:
    if building.script.below(64) != 63 or any(event.oversized for event in building.events):
        return  # seldom, for it is slow
    data = b"x" * OVERSIZED_BYTES
    building.wire += b"event: update\ndata: " + data + b"\n\n"
    building.events.append(KnownEvent("update", data[:-1], "dead", oversized=True))


_KINDS: tuple[Callable[[_Building], None], ...] = (
    *(_valid, _valid, _mutated, _mutated, _replaced, _replaced, _odd, _malformed),
    *(_delete, _bad_delete, _other, _noise, _noise, _spread, _oversized),
)


def _status(number: int, html: str) -> tuple[str, bytes]:
    uri = f"https://hostile.example/users/h/statuses/{number}"
    status = {
        "id": str(number + 1),
        "uri": uri,
        "created_at": "2026-01-01T00:00:00.000Z",
        "account": {"username": "h", "acct": "h@hostile.example", "bot": False},
        "content": html,
        "visibility": "public",
        "language": "en",
        "tags": [{"name": "a"}],
        "mentions": [],
        "media_attachments": [],
        "favourites_count": 0,
    }
    return uri, json.dumps(status, ensure_ascii=bool(number % 2)).encode()


def _cut(wire: bytes, cutting: int) -> list[bytes]:
    """Return the wire in blocks: whole, byte by byte, or in steps across every boundary."""
    if cutting < 64 or len(wire) > 64 * 1024:
        return [wire] if len(wire) < 64 * 1024 else _stepped(wire, 65_536)
    return _stepped(wire, 1 if cutting < 80 else cutting - 76)


def _stepped(wire: bytes, step: int) -> list[bytes]:
    return [wire[start : start + step] for start in range(0, len(wire), step)]
