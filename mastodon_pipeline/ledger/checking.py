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
from mastodon_pipeline.ledger.landed import Landed, count_landed, count_only_replayed
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
FORGOTTEN = "forgotten"
"""The stage of a loss that is known from the event log alone."""
_READ_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class EarlierCheck:
    """What Dagster's event log says of the check before: it outlives the lake and Kafka."""

    acknowledged: int
    """Records received from `since` on that Kafka had acknowledged, or that were forgotten then."""
    since: int
    """UTC milliseconds."""


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
    since: int
    """Hours of receiving are compared from this one on, UTC milliseconds."""
    forgotten: int
    """Records that an earlier check knew of, and that neither Kafka nor the lake knows any more."""

    @property
    def open(self) -> int:
        """Missing records that nobody has accepted."""
        return sum(loss.records for loss in self.losses) - self.accepted


def check_ledger(
    settings: Settings,
    lake: Lake,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sink_seconds: float = SINK_SECONDS,
    earlier: EarlierCheck | None = None,
) -> Ledger:
    """Balance the ledger, and remember it.

    `earlier` matters only where the lake has lost the ledger's memory: with the bucket, Kafka may
    have been lost, too, and nothing but the event log then knows that there was anything.

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
        # A name that left the lake a moment ago would else be a landed toot that is in no table.
        lake.forgotten.expire()
        counted_from = max(first, datetime.combine(first_day, time_of_day(), UTC))
        not_tabled, hours = missing_toots(lake, state, counted_from, moment)
        forgotten = _forgotten(earlier, state, landed, since) if stored.version is None else 0
        losses = [*result.losses, *not_tabled]
        state.losses = remember(losses, state.losses, since, ("acknowledged", "landed", "toots"))
        if forgotten and earlier:
            reason = "the lake and Kafka lost them together, and all that the ledger knew of them"
            loss = Loss(
                FORGOTTEN, "", earlier.since, forgotten, reason, int(moment.timestamp() * 1000)
            )
            state.losses[loss.name] = loss
        state.tallies = {
            key: known
            for key, known in state.tallies.items()
            if known.latest.hour >= since - HOUR_MS
        }
        state.checked_at = int(moment.timestamp() * 1000)
        ledger = _ledger(state, result, hours, kafka, since, forgotten)
        if not stored.bucket_exists or save_state(lake, stored, state):
            return ledger


def _forgotten(earlier: EarlierCheck | None, state: State, landed: Landed, since: int) -> int:
    """Return how many records an earlier check knew of, beyond what is known now.

    A deleted bucket alone costs nothing: Kafka still has the tallies, or its records land again.
    Nothing is said where the check before was long ago: Kafka keeps tallies for days only.
    """
    if earlier is None or since - earlier.since > COMPARED / timedelta(milliseconds=1):
        return 0
    tallied = sum(
        known.latest.acknowledged
        for known in state.tallies.values()
        if known.latest.hour >= earlier.since
    )
    return max(0, earlier.acknowledged - max(tallied, sum(landed.records.values())))


def _ledger(
    state: State, result: Balance, hours: int, kafka: KafkaView, since: int, forgotten: int
) -> Ledger:
    losses = sorted(state.losses.values(), key=lambda loss: (loss.hour, loss.name), reverse=True)
    accepted = sum(
        min(loss.records, state.accepted[loss.name].records)
        for loss in losses
        if loss.name in state.accepted
    )
    judged = kafka.has_committed(kafka.ends)
    return Ledger(result, tuple(losses), accepted, hours, judged, since, forgotten)


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
