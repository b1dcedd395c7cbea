"""Balances what was received with what was acknowledged and what landed; every difference named."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mastodon_pipeline.ledger.landed import Landed
from mastodon_pipeline.ledger.state import Cell, KnownTally, Loss, State
from mastodon_pipeline.listening.following.tally import SavedTally

IN_FLIGHT_MS = 10 * 60 * 1000
"""How long a record that was received may wait for Kafka, and how long listeners may take to read
again what Kafka has lost."""


@dataclass(frozen=True, slots=True)
class KafkaView:
    """What Kafka says of the topic."""

    topic_id: str
    """'' if there is no topic."""
    ends: Mapping[int, int]
    """The next offsets, after the tallies were read."""
    committed: Mapping[int, int]
    """The sink's, now."""

    def has_committed(self, ends: Mapping[int, int]) -> bool:
        """Return whether the sink has committed all records below these ends."""
        return all(
            # Beyond the end: the sink's offsets are those of a topic that was there before.
            end <= self.committed.get(partition, 0) <= max(self.ends.get(partition, 0), end)
            for partition, end in ends.items()
            if end > 0
        )

    def went_back(self, ends: Mapping[int, int]) -> bool:
        """Return whether the topic no longer reaches up to these ends."""
        return any(self.ends.get(partition, 0) < end for partition, end in ends.items())


@dataclass(slots=True)
class Balance:
    """Totals of the sources and hours that are compared, and what is missing of them."""

    received: int = 0
    left_out: int = 0
    """Repeated, boosts, not public, dead letters of the listeners."""
    acknowledged: int = 0
    landed: int = 0
    replayed: int = 0
    waiting_for_kafka: int = 0
    read_again: int = 0
    """Received by listeners that died, or lost by Kafka after it had acknowledged them, before they
    had landed; and read again by listeners after them."""
    in_flight: int = 0
    """Acknowledged, and not due to have landed."""
    after_last_tally: int = 0
    """Landed beyond what was tallied: acknowledged after the last tally of a listener that died, or
    recorded by another program."""
    losses: list[Loss] = field(default_factory=list)
    made_up: set[Cell] = field(default_factory=set)
    """Where records that were sent again stand for missing ones."""


def judge(state: State, tallies: Mapping[str, SavedTally], kafka: KafkaView, now: int) -> None:
    """Take up the tallies, and decide how much of each must have landed by now.

    `now`: UTC milliseconds.
    """
    if state.topic_id != kafka.topic_id:
        # What an earlier topic has, and the sink had not read, cannot land any more.
        if state.topic_id:
            state.replaced_at = now
        state.topic_id, state.due_ends = kafka.topic_id, None
    if state.due_ends is not None and (
        kafka.went_back(state.due_ends) or kafka.has_committed(state.due_ends)
    ):
        for known in state.tallies.values():
            known.judged = max(known.judged, known.due)
        state.due_ends = None
    for key, tally in tallies.items():
        topic_id = tally.topic_id or kafka.topic_id
        known = state.tallies.setdefault(key, KnownTally(tally, topic_id=topic_id))
        known.latest = _later(known.latest, tally)
    present = [known for known in state.tallies.values() if known.topic_id == kafka.topic_id]
    if kafka.has_committed(kafka.ends):
        for known in present:
            if known.latest.key in tallies:
                known.judged = max(known.judged, known.latest.acknowledged)
    elif state.due_ends is None:
        for known in present:
            known.due = known.latest.acknowledged
        state.due_ends = dict(kafka.ends)


def balance(
    state: State, landed: Landed, letters: Mapping[Cell, int], since: int, now: int
) -> Balance:
    """Compare the hours of receiving from `since` on; both times are UTC milliseconds.

    `letters`: records in the sink's dead letters. Only what was judged is compared.

    What an earlier topic had acknowledged must have landed, too, unless a listener has gone on from
    what had: it reads all of that again (see `SavedPosition.from_landed`).
    """
    result = Balance()
    judged: defaultdict[Cell, int] = defaultdict(int)
    acknowledged: defaultdict[Cell, int] = defaultdict(int)
    former_topic: set[Cell] = set()
    newest: defaultdict[str, int] = defaultdict(int)
    for known in state.tallies.values():
        newest[known.latest.source] = max(newest[known.latest.source], known.latest.started_at)
    resumed = {
        known.latest.source
        for known in state.tallies.values()
        if known.topic_id == state.topic_id and known.latest.from_landed
    }
    waiting: defaultdict[Cell, int] = defaultdict(int)
    for known in state.tallies.values():
        tally = known.latest
        if tally.hour < since:
            continue
        cell = (tally.source, tally.hour)
        result.received += tally.received
        result.left_out += tally.left_out
        due = known.judged
        if known.topic_id != state.topic_id and due < tally.acknowledged:
            if tally.source in resumed:
                result.read_again += tally.acknowledged - due
            elif now - state.replaced_at > IN_FLIGHT_MS:
                due = tally.acknowledged
                former_topic.add(cell)
        judged[cell] += due
        acknowledged[cell] += tally.acknowledged
        if tally.open <= 0:
            continue
        if not tally.ended and now - tally.written_at <= IN_FLIGHT_MS:
            result.waiting_for_kafka += tally.open
        elif newest[tally.source] > tally.started_at:
            result.read_again += tally.open
        else:
            waiting[cell] += tally.open
    result.acknowledged = sum(acknowledged.values())
    for cell, records in waiting.items():
        reason = "received, and never acknowledged by Kafka; no listener has read them again since"
        result.losses.append(Loss("acknowledged", *cell, records, reason, now))
    for cell in sorted(acknowledged.keys() | landed.records.keys()):
        if cell[1] < since:
            continue
        here = landed.records[cell]
        result.landed += here
        result.replayed += landed.replayed[cell]
        result.in_flight += max(0, acknowledged[cell] - max(judged[cell], here))
        result.after_last_tally += max(0, here - acknowledged[cell])
        missing = judged[cell] - here - landed.replayed[cell]
        if judged[cell] > here and landed.replayed[cell]:
            result.made_up.add(cell)
        if missing > 0:
            reason = _reason(cell, missing, landed, letters.get(cell, 0), cell in former_topic)
            result.losses.append(Loss("landed", *cell, missing, reason, now))
    return result


def remember(
    losses: Iterable[Loss], known: Mapping[str, Loss], since: int, stages: Iterable[str]
) -> dict[str, Loss]:
    """Return the losses by name: those found now, and those of hours no longer compared.

    A loss that was known keeps since when, and its reason: what explains it may be seen only once.
    """
    by_name = {
        name: loss for name, loss in known.items() if loss.hour < since or loss.stage not in stages
    }
    for loss in losses:
        before = known.get(loss.name)
        if before is not None:
            reason = before.reason if before.records == loss.records else loss.reason
            loss = Loss(loss.stage, loss.source, loss.hour, loss.records, reason, before.since)
        by_name[loss.name] = loss
    return by_name


def _reason(cell: Cell, missing: int, landed: Landed, letters: int, former_topic: bool) -> str:
    if cell in landed.suspects:
        return landed.suspects[cell]
    if letters >= missing:
        return "in the sink's dead letters: mastodon-pipeline replay --dead-letters"
    if former_topic:
        return "lost with Kafka's data: the topic was made again before they had landed"
    if ("", 0) in landed.suspects:
        return landed.suspects["", 0]
    if letters:
        return f"{letters} in the sink's dead letters, the others passed over by the sink"
    return "passed over by the sink"


def _later(known: SavedTally, read: SavedTally) -> SavedTally:
    """Return which of two states of a tally is the newer; counts only grow."""
    return read if (read.received, read.acknowledged) >= _size(known) else known


def _size(tally: SavedTally) -> tuple[int, int]:
    return tally.received, tally.acknowledged
