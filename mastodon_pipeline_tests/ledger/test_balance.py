"""What must have landed by when, and how each difference is called."""

from typing import Any

import pytest

from mastodon_pipeline.ledger.balance import (
    IN_FLIGHT_MS,
    Balance,
    KafkaView,
    balance,
    judge,
    remember,
)
from mastodon_pipeline.ledger.landed import Landed
from mastodon_pipeline.ledger.state import Cell, Loss, State
from mastodon_pipeline.listening.following.tally import HOUR_MS, SavedTally

SOURCE = "https://a.example"
HOUR = 500_000 * HOUR_MS
NOW = HOUR + 30 * 60 * 1000
LATER = NOW + IN_FLIGHT_MS + 1
CELL: Cell = (SOURCE, HOUR)


def tally(acknowledged: int, received: int | None = None, **fields: Any) -> SavedTally:
    values: dict[str, Any] = {"run": "run", "started_at": HOUR, "written_at": NOW, **fields}
    received = acknowledged if received is None else received
    return SavedTally(
        source=SOURCE, hour=HOUR, received=received, acknowledged=acknowledged, **values
    )


def kafka(committed: int, end: int, topic_id: str = "topic") -> KafkaView:
    return KafkaView(topic_id, {0: end}, {0: committed})


def landed(records: int, **fields: Any) -> Landed:
    result = Landed(**fields)
    result.records[CELL] = records
    return result


def take(state: State, view: KafkaView, *tallies: SavedTally) -> None:
    judge(state, {each.key: each for each in tallies}, view, NOW)


def losses(state: State, has: Landed, letters: int = 0, now: int = NOW) -> list[tuple[Any, ...]]:
    result = balance(state, has, {CELL: letters}, HOUR, now)
    return [(loss.stage, loss.source, loss.records, loss.reason) for loss in result.losses]


def totals(state: State, has: Landed, now: int = NOW) -> Balance:
    return balance(state, has, {}, HOUR, now)


def test_what_the_sink_has_not_committed_is_in_flight() -> None:
    state = State()
    take(state, kafka(0, 5), tally(5))
    assert losses(state, landed(0)) == []
    assert totals(state, landed(0)).in_flight == 5
    take(state, kafka(5, 5), tally(5))
    assert losses(state, landed(3)) == [("landed", SOURCE, 2, "passed over by the sink")]


def test_sink_that_never_rests_is_judged_by_what_was_acknowledged_before() -> None:
    """At each check there is more in flight; what it had to land is older."""
    state = State()
    take(state, kafka(0, 5), tally(5))
    take(state, kafka(6, 9), tally(9))
    assert losses(state, landed(3)) == [("landed", SOURCE, 2, "passed over by the sink")]
    assert losses(state, landed(5)) == []


def test_topic_that_was_made_again_is_judged_after_ten_minutes() -> None:
    """Its offsets begin again, and never reach those that were due."""
    state = State()
    take(state, kafka(0, 5), tally(5))
    take(state, kafka(0, 0, ""))
    assert losses(state, landed(2)) == [], "listeners may be reading it again"
    take(state, kafka(0, 1, "another"), tally(5))
    [(_, _, records, reason)] = losses(state, landed(2), now=LATER)
    assert (records, reason.split(":")[0]) == (3, "lost with Kafka's data")


def test_what_a_lost_topic_had_is_no_loss_once_a_listener_went_on_from_what_had_landed() -> None:
    """It acknowledges it to the next topic; without it, what nobody has read again stays lost."""
    state = State()
    take(state, kafka(3, 5), tally(5, topic_id="topic"))
    next_run = tally(4, run="next", topic_id="another", from_landed=True)
    take(state, kafka(4, 4, "another"), next_run)
    assert losses(state, landed(3 + 4), now=LATER) == []
    assert totals(state, landed(3 + 4), LATER).read_again == 5
    assert losses(state, landed(3), now=LATER) == [("landed", SOURCE, 1, "passed over by the sink")]


def test_listener_that_went_on_from_nowhere_does_not_make_up_for_a_lost_topic() -> None:
    """As a first version did, whose positions Kafka had lost as well."""
    state = State()
    take(state, kafka(3, 5), tally(5, topic_id="topic"))
    take(state, kafka(2, 2, "another"), tally(2, run="next", topic_id="another"))
    [(_, _, records, reason)] = losses(state, landed(3 + 2), now=LATER)
    assert (records, reason.split(":")[0]) == (2, "lost with Kafka's data")


def test_topic_that_went_back_is_judged_at_once() -> None:
    """Kafka's disk was put back from a copy: the same topic, with lower ends."""
    state = State()
    take(state, kafka(0, 5), tally(5))
    take(state, kafka(0, 2), tally(5))
    assert losses(state, landed(0)) == [("landed", SOURCE, 5, "passed over by the sink")]


def test_offsets_of_a_topic_that_was_there_before_prove_nothing() -> None:
    """The sink's group still has them, beyond the new topic's end."""
    state = State()
    take(state, kafka(40, 5), tally(5))
    assert losses(state, landed(0)) == []


def test_tallies_that_kafka_lost_are_remembered() -> None:
    state = State()
    take(state, kafka(5, 5), tally(5))
    take(state, kafka(0, 0, ""))
    assert [loss[2] for loss in losses(state, landed(0), now=LATER)] == [5]


def test_tally_never_shrinks() -> None:
    """A compacted topic that went back shows an older one."""
    state = State()
    take(state, kafka(5, 5), tally(5))
    take(state, kafka(5, 5), tally(2))
    assert totals(state, landed(5)).acknowledged == 5


def test_tallies_of_several_runs_add_up() -> None:
    state = State()
    take(state, kafka(5, 5), tally(5), tally(4, run="other"))
    assert [loss[2] for loss in losses(state, landed(7))] == [2]


def test_more_landed_than_was_tallied_is_no_loss() -> None:
    """A listener that was killed tallied its last seconds to nobody."""
    state = State()
    take(state, kafka(9, 9), tally(5))
    assert losses(state, landed(9)) == []
    assert totals(state, landed(9)).after_last_tally == 4


@pytest.mark.parametrize("ended", [True, False])
def test_received_and_not_acknowledged_is_a_loss_until_somebody_reads_it_again(
    ended: bool,
) -> None:
    """Within ten minutes a living listener waits for Kafka."""
    state = State()
    take(state, kafka(5, 5), tally(5, received=8, ended=ended))
    assert totals(state, landed(5)).waiting_for_kafka == (0 if ended else 3)
    later = NOW + IN_FLIGHT_MS + 1
    [(stage, _, records, _)] = losses(state, landed(5), now=later)
    assert (stage, records) == ("acknowledged", 3)
    take(state, kafka(8, 8), tally(3, run="next", started_at=HOUR + 1))
    assert losses(state, landed(8), now=later) == []
    assert totals(state, landed(8), later).read_again == 3


def test_replayed_records_stand_for_missing_ones() -> None:
    state = State()
    take(state, kafka(5, 5), tally(5))
    has = landed(3)
    has.replayed[CELL] = 2
    assert losses(state, has) == []


@pytest.mark.parametrize(
    ("suspects", "letters", "reason"),
    [
        ({CELL: "landed file x is gone"}, 2, "landed file x is gone"),
        ({}, 2, "in the sink's dead letters: mastodon-pipeline replay --dead-letters"),
        ({}, 1, "1 in the sink's dead letters, the others passed over by the sink"),
        ({("", 0): "landed file y cannot be read"}, 0, "landed file y cannot be read"),
        ({}, 0, "passed over by the sink"),
    ],
)
def test_loss_names_what_explains_it(suspects: dict[Cell, str], letters: int, reason: str) -> None:
    state = State()
    take(state, kafka(5, 5), tally(5))
    assert losses(state, landed(3, suspects=suspects), letters) == [("landed", SOURCE, 2, reason)]


def test_loss_keeps_since_when_and_why_and_outlives_the_hours_compared() -> None:
    """Why a file is missing is seen only once; hours leave the comparison after three days."""
    stages = ("landed",)
    first = remember([Loss("landed", *CELL, 5, "a file is gone", 100)], {}, HOUR, stages)
    again = remember([Loss("landed", *CELL, 5, "passed over", 200)], first, HOUR, stages)
    assert again == first
    more = remember([Loss("landed", *CELL, 6, "passed over", 300)], first, HOUR, stages)
    assert [(loss.records, loss.reason, loss.since) for loss in more.values()] == [
        (6, "passed over", 100)
    ]
    assert remember([], more, HOUR, stages) == {}
    assert remember([], more, HOUR + HOUR_MS, stages) == more
