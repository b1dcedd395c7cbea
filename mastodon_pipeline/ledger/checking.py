"""Checks the ledger: reads the tallies, waits for the sink, counts what landed, balances."""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.kafka import open_consumer, read, topic_id
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.dead_letters import read_sink_letters
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.ledger.balance import Balance, KafkaView, balance, judge, remember
from mastodon_pipeline.ledger.landed import count_landed, count_only_replayed
from mastodon_pipeline.ledger.state import Cell, Loss, State, load_state, save_state
from mastodon_pipeline.ledger.tabled import missing_toots
from mastodon_pipeline.listening.following.tally import HOUR_MS, tally_source
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.registry import WritersSchemas
from mastodon_pipeline.listening.topic.tallies import read_tallies
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.first_day import first_day_of

COMPARED = timedelta(days=3)
"""How far back hours are compared; losses of earlier ones stay."""
SINK_SECONDS = 40.0
"""How long a check waits for the sink: it commits every ten seconds."""
_READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """The outcome of a check."""

    balance: Balance
    losses: tuple[Loss, ...]
    """All that are known, the newest first."""
    accepted: int
    """Records of them that a person has accepted."""
    hours: int
    """Of posting, whose `toots` were compared with what landed."""
    judged: bool
    """The sink has come as far as the tallies; if not, the ones before were compared."""

    @property
    def open(self) -> int:
        """Missing records that nobody has accepted."""
        return sum(loss.records for loss in self.losses) - self.accepted


def check_ledger(
    settings: Settings,
    lake: Lake,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sink_seconds: float = SINK_SECONDS,
) -> Ledger:
    """Balance the ledger, and remember it.

    Raises:
        KafkaUnavailable, ObjectStoreUnavailable: a service does not answer.
        LedgerError: what the ledger remembers is damaged.
    """
    while True:
        stored = load_state(lake)
        moment = now()
        first = _first(settings, moment)
        since = int(first.timestamp() * 1000)
        state = stored.state
        tallies = read_tallies(settings)
        kafka = _await_sink(settings, sink_seconds)
        judge(state, tallies, kafka, int(moment.timestamp() * 1000))
        landed = count_landed(lake, state, first)
        result = balance(state, landed, {}, since, int(moment.timestamp() * 1000))
        if result.made_up:
            landed.replayed.update(count_only_replayed(lake, result.made_up, first))
            result = balance(state, landed, {}, since, int(moment.timestamp() * 1000))
        if any(loss.stage == "landed" for loss in result.losses):
            letters = _letters_by_cell(settings)
            result = balance(state, landed, letters, since, int(moment.timestamp() * 1000))
            result.losses = _name_retention(settings, lake, result.losses)
        first_day = (
            first_day_of(lake, settings.first_day, moment)
            if stored.bucket_exists
            else settings.first_day
        )
        counted_from = max(first, datetime.combine(first_day, time_of_day(), UTC))
        not_tabled, hours = missing_toots(lake, state, counted_from, moment)
        losses = [*result.losses, *not_tabled]
        state.losses = remember(losses, state.losses, since, ("acknowledged", "landed", "toots"))
        state.tallies = {
            key: known
            for key, known in state.tallies.items()
            if known.latest.hour >= since - HOUR_MS
        }
        state.checked_at = int(moment.timestamp() * 1000)
        ledger = _ledger(state, result, hours, kafka)
        if not stored.bucket_exists or save_state(lake, stored, state):
            return ledger


def _ledger(state: State, result: Balance, hours: int, kafka: KafkaView) -> Ledger:
    losses = sorted(state.losses.values(), key=lambda loss: (loss.hour, loss.name), reverse=True)
    accepted = sum(
        min(loss.records, state.accepted[loss.name].records)
        for loss in losses
        if loss.name in state.accepted
    )
    return Ledger(result, tuple(losses), accepted, hours, kafka.has_committed(kafka.ends))


def _first(settings: Settings, now: datetime) -> datetime:
    """Return from which hour on hours are compared: their files must not have been removed."""
    compared = COMPARED
    if settings.raw_retention_days:
        compared = min(compared, timedelta(days=settings.raw_retention_days) - timedelta(hours=1))
    return (now - compared).replace(minute=0, second=0, microsecond=0)


def _await_sink(settings: Settings, seconds: float) -> KafkaView:
    """Ask for the topic's ends, and wait until the sink has committed them, or time is up."""
    current_id = topic_id(settings, settings.kafka_topic) or ""
    ends = {p.partition: p.end for p in sink_progress(settings)}
    deadline = time.monotonic() + seconds
    while True:
        progress = sink_progress(settings)
        latest = KafkaView(
            current_id,
            {p.partition: p.end for p in progress},
            # What retention has removed, the sink never commits, nor waits for.
            {p.partition: max(p.committed, p.low) for p in progress},
        )
        if latest.has_committed(ends) or time.monotonic() >= deadline:
            return KafkaView(current_id, ends, latest.committed)
        time.sleep(1.0)


def _letters_by_cell(settings: Settings) -> dict[Cell, int]:
    """Count the records in the sink's dead letters by source and hour, as far as they tell."""
    letters = read_sink_letters(settings)
    unsettled = {letter.offset for letter in letters.unsettled}
    cells: defaultdict[Cell, int] = defaultdict(int)
    if not unsettled:
        return cells
    schemas = WritersSchemas(settings)
    with open_consumer(settings) as consumer:
        ranges = {0: range(min(unsettled), max(unsettled) + 1)}
        for message in read(consumer, settings.dead_letter_topic, ranges, _READ_SECONDS):
            if message.offset() not in unsettled:
                continue
            record = _record(message.value() or b"", schemas)
            if record is None:
                continue
            source = tally_source(record.base_url, record.source)
            cells[source, record.ingested_at - record.ingested_at % HOUR_MS] += 1
    return cells


def _record(value: bytes, schemas: WritersSchemas) -> TootRecord | None:
    """Return a dead letter's record, None if it is none; by our schema if its own is not known."""
    for writers_schema in (schemas, None):
        with suppress(ValueError, PipelineError):
            return decode(value, writers_schema)
    return None


def _name_retention(settings: Settings, lake: Lake, losses: list[Loss]) -> list[Loss]:
    """Say of records that the sink passed over whether retention took them first."""
    if not any(loss.reason == "passed over by the sink" for loss in losses):
        return losses
    completeness = landing_completeness(settings, lake)
    if not completeness.lost:
        return losses
    reason = (
        f"removed by Kafka's retention before the sink had read them ({completeness.lost} of all"
        " sources)"
    )
    return [
        Loss(loss.stage, loss.source, loss.hour, loss.records, reason, loss.since)
        if loss.reason == "passed over by the sink"
        else loss
        for loss in losses
    ]
