"""What will happen, decided beforehand: a list of happenings in the order of their times.

The same arguments give the same plan, ids included. Local ids follow publication, so `min_id`
pages are safe; copies of remote toots get ids of their arrival, or backdated ones where the
observing server fetched them (Mastodon dates such ids by `created_at`).
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from infra.simulator.content import Author, Body, Toot, Writer

MINUTE, HOUR = 60_000, 3_600_000  # milliseconds


class StatusIds:
    """One server's ids: Mastodon's snowflakes, milliseconds << 16 with a sequence beneath.

    Ids taken in the order of time are strictly increasing.
    """

    def __init__(self) -> None:
        self._last = 0
        self._backdated: set[int] = set()

    def at(self, milliseconds: int) -> int:
        """The next id for something that is listed now, at `milliseconds` (UTC)."""
        self._last = max(self._last + 1, (milliseconds << 16) + 1)
        return self._last

    def backdated(self, milliseconds: int) -> int:
        """An id as if the toot had been listed when it was created, in the upper half of its ms."""
        status_id = (milliseconds << 16) + 0x8000
        while status_id in self._backdated:
            status_id += 1
        self._backdated.add(status_id)
        return status_id


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happens to a toot at `at` (UTC milliseconds)."""

    at: int
    kind: Literal["publish", "federate", "edit", "delete"]
    toot: Toot
    observer: str = ""
    """For publish and federate: the server that lists it from now on."""
    status_id: int = 0
    body: Body | None = None
    """For edit: the new content."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All happenings of a past window, in order, and who writes when it goes on from there."""

    happenings: tuple[Happening, ...]
    toots: tuple[Toot, ...]
    """Those that public feeds show; the truth is told of these."""
    start: int
    end: int
    """The window, UTC milliseconds."""
    ids: Mapping[str, StatusIds]
    authors: Mapping[str, Sequence[Author]]
    """Who lives on each server."""


def build_plan(
    domains: Sequence[str],
    toots: int,
    hours: float,
    seed: int,
    end: int,
    no_deletes: Sequence[str] = (),
) -> Plan:
    """`toots` public toots in the `hours` before `end` (UTC ms), with all that surrounds them.

    Besides them come 4 % that no public feed shows, copies of about a quarter on other servers,
    edits of 4 % and deletes of 3 %. Servers in `no_deletes` see none: who only polls a server
    cannot learn of a delete, and what it counts would depend on the moment it looked.
    """
    rng = random.Random(f"{seed}")
    writer = Writer.with_new_authors(domains, rng)
    ids = {domain: StatusIds() for domain in domains}
    start = end - int(hours * HOUR)
    happenings: list[Happening] = []
    public: list[Toot] = []
    for at, server in _times(rng, domains, toots, start, end):
        toot = writer.toot(server, at)
        public.append(toot)
        happenings.append(Happening(at, "publish", toot, server))
        happenings += _aftermath(rng, writer, toot, domains, end, server not in no_deletes)
        if rng.random() < 0.04:
            hidden = writer.unlisted(server, at, boosted=rng.choice(public))
            happenings.append(Happening(at, "publish", hidden, server))
    happenings.sort(key=lambda happening: happening.at)
    return Plan(
        tuple(_with_ids(rng, happenings, ids)), tuple(public), start, end, ids, writer.authors
    )


def _times(
    rng: random.Random, domains: Sequence[str], toots: int, start: int, end: int
) -> list[tuple[int, str]]:
    """When and where each toot is written: servers differ in size, hours in how busy they are."""
    slots = max(1, round((end - start) / HOUR))
    busy = [_of_the_day(start + slot * HOUR) * rng.uniform(0.8, 1.2) for slot in range(slots)]
    sizes = [1 / (position + 1) ** 0.5 for position in range(len(domains))]
    width = (end - start) / slots
    times = [
        (int(start + (slot + rng.random()) * width), server)
        for slot, server in zip(
            rng.choices(range(slots), busy, k=toots),
            rng.choices(domains, sizes, k=toots),
            strict=True,
        )
    ]
    return sorted(times)


def _of_the_day(at: int) -> float:
    """How busy an hour is: the most at 20 UTC, a quarter of that at 8."""
    return 1.0 + 0.6 * math.cos((at / HOUR % 24 - 20) / 24 * math.tau)


def _aftermath(
    rng: random.Random, writer: Writer, toot: Toot, domains: Sequence[str], end: int, deletes: bool
) -> list[Happening]:
    """Copies, an edit, a delete: later than the toot, at the latest when the window ends."""

    def later(low: int, high: int) -> int:
        return min(end, toot.created_at + rng.randint(low, high))

    found = []
    if len(domains) > 1 and rng.random() < 0.25:
        others = [domain for domain in domains if domain != toot.server]
        for observer in rng.sample(others, rng.randint(1, len(others))):
            found.append(Happening(later(800, 12 * MINUTE), "federate", toot, observer))
    if rng.random() < 0.04:
        body = writer.edited(toot)
        found.append(Happening(later(MINUTE, 20 * MINUTE), "edit", toot, body=body))
    if deletes and rng.random() < 0.03:
        found.append(Happening(later(2 * MINUTE, 40 * MINUTE), "delete", toot))
    return found


def _with_ids(
    rng: random.Random, happenings: Sequence[Happening], ids: Mapping[str, StatusIds]
) -> list[Happening]:
    numbered = []
    for h in happenings:
        if h.kind in ("publish", "federate"):
            fetched = h.kind == "federate" and rng.random() < 0.1
            sequence = ids[h.observer]
            status_id = sequence.backdated(h.toot.created_at) if fetched else sequence.at(h.at)
            h = Happening(h.at, h.kind, h.toot, h.observer, status_id)
        numbered.append(h)
    return numbered
