"""New ids for Dagster's events, which SQLite keeps in a file a run and PostgreSQL in one table.

In SQLite the file `index.db` has the events of assets, checks and runs' states once more, under ids
of its own, which grow through all runs. Other rows refer to these, and so do events themselves; the
ids of the runs' files are only their order. In one table, every id grows through all runs: an event
of the index comes where it was among the index's, any other one where it was among its run's.
"""

import re
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

_REFERENCE = re.compile(
    r'(?<!\\)("storage_id": |"dagster/input_event_pointer/[^"\\]*": ")(\d+)'  # in Dagster's JSON
)


@dataclass(frozen=True, slots=True)
class Position:
    """An event in a file: what orders it, without its text."""

    id: int
    timestamp: str
    """As SQLite has it: UTC, of one form, so that it can be compared."""
    text_hash: int
    """Of the event's JSON, which is the same in the index and in the run's file."""


@dataclass(frozen=True, slots=True)
class EventIds:
    """The new ids."""

    of_index: Mapping[int, int]
    of_runs: Mapping[str, Mapping[int, int]]
    """By run and old id, of the events that the index does not have."""

    def referred(self, text: str | None) -> str | None:
        """Return an event's JSON with the new ids where it refers to others."""
        if text is None:
            return None
        return _REFERENCE.sub(lambda m: f"{m[1]}{self.of_index.get(int(m[2]), m[2])}", text)


def new_event_ids(
    index: Sequence[tuple[str, Position]], runs: Iterable[tuple[str, Sequence[Position]]]
) -> EventIds:
    """Return new ids, from 1 on. `index`: each event with its run's id; both in the ids' order."""
    same: dict[str, dict[int, deque[int]]] = defaultdict(lambda: defaultdict(deque))
    for run_id, event in index:
        same[run_id][event.text_hash].append(event.id)
    index_ids = [event.id for _, event in index]
    latest = list(accumulate((event.timestamp for _, event in index), max))

    # An event's place: the last event of the index before it, or itself.
    places: list[tuple[int, int, str, str, int]] = [(id, 0, "", "", 0) for id in index_ids]
    for run_id, events in runs:
        in_index = [
            matches.popleft() if (matches := same[run_id].get(event.text_hash)) else None
            for event in events
        ]
        after = _next_in_index(in_index)
        before = 0
        for event, own, next_one in zip(events, in_index, after, strict=True):
            if own is not None:
                before = max(before, own)
                continue
            at = bisect_right(latest, event.timestamp)
            by_time = index_ids[at - 1] if at else 0
            if next_one is not None:
                by_time = min(by_time, next_one - 1)
            before = max(before, by_time)
            places.append((before, 1, event.timestamp, run_id, event.id))
    places.sort()
    of_index: dict[int, int] = {}
    of_runs: dict[str, dict[int, int]] = defaultdict(dict)
    for new, (index_id, is_of_run, _, run_id, old) in enumerate(places, 1):
        if is_of_run:
            of_runs[run_id][old] = new
        else:
            of_index[index_id] = new
    return EventIds(of_index, of_runs)


def _next_in_index(in_index: Sequence[int | None]) -> list[int | None]:
    """Return for each event of a run the index's id of the next one that the index has."""
    following: list[int | None] = []
    nearest = None
    for own in reversed(in_index):
        following.append(nearest)
        nearest = nearest if own is None else own
    return following[::-1]
