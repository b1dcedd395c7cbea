"""The plan of a simulation: a list of events in order of time.

The same arguments give the same plan, including ids. Local ids are in order of publication, so
`min_id` paging is safe; copies of remote toots get ids of their arrival time, or backdated ids if
the observing server fetched them (Mastodon derives such ids from `created_at`).
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from infra.simulator.content import Author, Body, Toot, Writer

MINUTE, HOUR = 60_000, 3_600_000  # milliseconds


class StatusIds:
    """A server's ids: Mastodon's snowflakes, milliseconds << 16 with a sequence in the low bits.

    Ids generated in order of time are strictly increasing.
    """

    def __init__(self) -> None:
        self._last = 0
        self._backdated: set[int] = set()

    def at(self, milliseconds: int) -> int:
        """Return the next id for a toot that is listed at `milliseconds` (UTC)."""
        self._last = max(self._last + 1, (milliseconds << 16) + 1)
        return self._last

    def by_clock(self, milliseconds: int) -> int:
        """Return the id that a clock gives which may have been set back: then below the last."""
        forward = (milliseconds << 16) + 1 > self._last
        return self.at(milliseconds) if forward else self.backdated(milliseconds)

    def backdated(self, milliseconds: int) -> int:
        """Return an id as if the toot had been listed when it was created, late in that ms."""
        status_id = (milliseconds << 16) + 0x8000
        while status_id in self._backdated:
            status_id += 1
        self._backdated.add(status_id)
        return status_id


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """An event of a toot at `at` (UTC milliseconds)."""

    at: int
    kind: Literal["publish", "federate", "edit", "delete"]
    toot: Toot
    observer: str = ""
    """For publish and federate: the server that lists it."""
    status_id: int = 0
    body: Body | None = None
    """For edit: the new content."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All events of a past window in order, and what is needed to continue from there."""

    events: tuple[PlannedEvent, ...]
    toots: tuple[Toot, ...]
    """The toots in public feeds, which the truth consists of."""
    start: int
    end: int
    """The window, UTC milliseconds."""
    ids: Mapping[str, StatusIds]
    authors: Mapping[str, Sequence[Author]]
    """The authors of each server."""


def build_plan(
    domains: Sequence[str],
    toots: int,
    hours: float,
    seed: int,
    end: int,
    no_deletes: Sequence[str] = (),
) -> Plan:
    """Plan `toots` public toots in the `hours` before `end` (UTC ms), and related events.

    In addition there are 4 % of toots in no public feed, copies of about a quarter on other
    servers, edits of 4 % and deletes of 3 %. Servers in `no_deletes` have none: a client that only
    polls cannot learn of a delete, and its count would depend on when it polled.
    """
    rng = random.Random(f"{seed}")
    writer = Writer.with_new_authors(domains, rng)
    ids = {domain: StatusIds() for domain in domains}
    start = end - int(hours * HOUR)
    events: list[PlannedEvent] = []
    public: list[Toot] = []
    for at, server in _times(rng, domains, toots, start, end):
        toot = writer.toot(server, at)
        public.append(toot)
        events.append(PlannedEvent(at, "publish", toot, server))
        events += _follow_ups(rng, writer, toot, domains, end, server not in no_deletes)
        if rng.random() < 0.04:
            hidden = writer.unlisted(server, at, boosted=rng.choice(public))
            events.append(PlannedEvent(at, "publish", hidden, server))
    events.sort(key=lambda event: event.at)
    return Plan(tuple(_with_ids(rng, events, ids)), tuple(public), start, end, ids, writer.authors)


def _times(
    rng: random.Random, domains: Sequence[str], toots: int, start: int, end: int
) -> list[tuple[int, str]]:
    """Draw time and server of each toot; servers differ in size, hours in activity."""
    slots = max(1, round((end - start) / HOUR))
    busy = [_activity_at(start + slot * HOUR) * rng.uniform(0.8, 1.2) for slot in range(slots)]
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


def _activity_at(at: int) -> float:
    """Return the relative activity of an hour: highest at 20 UTC, a quarter of that at 8."""
    return 1.0 + 0.6 * math.cos((at / HOUR % 24 - 20) / 24 * math.tau)


def _follow_ups(
    rng: random.Random, writer: Writer, toot: Toot, domains: Sequence[str], end: int, deletes: bool
) -> list[PlannedEvent]:
    """Plan copies, an edit and a delete: after the toot, at the latest at the end of the window."""

    def later(low: int, high: int) -> int:
        return min(end, toot.created_at + rng.randint(low, high))

    events = []
    if len(domains) > 1 and rng.random() < 0.25:
        others = [domain for domain in domains if domain != toot.server]
        for observer in rng.sample(others, rng.randint(1, len(others))):
            events.append(PlannedEvent(later(800, 12 * MINUTE), "federate", toot, observer))
    if rng.random() < 0.04:
        body = writer.edited(toot)
        events.append(PlannedEvent(later(MINUTE, 20 * MINUTE), "edit", toot, body=body))
    if deletes and rng.random() < 0.03:
        events.append(PlannedEvent(later(2 * MINUTE, 40 * MINUTE), "delete", toot))
    return events


def _with_ids(
    rng: random.Random, events: Sequence[PlannedEvent], ids: Mapping[str, StatusIds]
) -> list[PlannedEvent]:
    numbered = []
    for event in events:
        if event.kind in ("publish", "federate"):
            fetched = event.kind == "federate" and rng.random() < 0.1
            server_ids = ids[event.observer]
            status_id = (
                server_ids.backdated(event.toot.created_at) if fetched else server_ids.at(event.at)
            )
            event = replace(event, status_id=status_id)
        numbered.append(event)
    return numbered
