"""What waits for a target: in order, until it was accepted, and never too much at once."""

from itertools import pairwise

from mastodon_pipeline.alerting.outbox import MAX_PENDING, MAX_PER_HOUR, Target, target_id
from mastodon_pipeline.alerting.rules import Message

NOW = 1_800_000_000.0


def messages(*numbers: int) -> list[Message]:
    return [Message("began", f"problem {n}", "What to do: nothing.") for n in numbers]


def send(target: Target, now: float, accepted: int | None = None) -> list[str]:
    """Send what is due, of which the target accepts so many, or all; return the titles sent."""
    due = target.due(now)
    if due:
        target.record(due, len(due) if accepted is None else accepted, now)
    return [message.title for message in due]


def test_messages_are_sent_in_order_and_once() -> None:
    target = Target("a")
    target.add(messages(1))
    target.add(messages(2))
    assert send(target, NOW) == ["problem 1", "problem 2"]
    assert send(target, NOW + 60) == []


def test_message_that_was_not_accepted_is_sent_again_with_growing_pauses() -> None:
    target = Target("a")
    target.add(messages(1))
    tried = [minute for minute in range(180) if send(target, NOW + 60 * minute, accepted=0)]
    assert tried[:6] == [0, 1, 3, 7, 14, 28]
    assert all(later - earlier <= 30 for earlier, later in pairwise(tried))
    assert send(target, NOW + 60 * 240) == ["problem 1"]
    assert target.failures == 0


def test_accepted_messages_are_not_sent_again_if_a_later_one_is_refused() -> None:
    target = Target("a")
    target.add(messages(1, 2, 3))
    send(target, NOW, accepted=2)
    assert send(target, NOW + 60) == ["problem 3"]


def test_many_waiting_messages_are_one_notification_with_all_of_them() -> None:
    target = Target("a")
    target.add([*messages(1, 2, 3), Message("over", "over: problem 0", "It lasted.")])
    [joined] = target.due(NOW)
    assert joined.title == "4 messages: 3 began, 1 over"
    for title in ("problem 1", "problem 2", "problem 3", "over: problem 0"):
        assert title in joined.body
    send(target, NOW, accepted=0)
    assert len(target.pending) == 4, "refused, so they still wait"
    send(target, NOW + 60)
    assert target.pending == []


def test_more_than_twelve_messages_an_hour_wait_and_are_joined() -> None:
    target = Target("a")
    sent: list[str] = []
    for minute in range(60):
        target.add(messages(minute))
        sent += send(target, NOW + 60 * minute)
    assert len(sent) == MAX_PER_HOUR
    [joined] = target.due(NOW + 3600)
    assert joined.title.startswith("48 messages")


def test_what_waits_is_bounded_and_says_what_was_left_out() -> None:
    target = Target("a")
    target.add(messages(*range(MAX_PENDING + 7)))
    [joined] = target.due(NOW)
    assert joined.body.startswith("7 older messages are left out")
    target.record([joined], 1, NOW)
    assert (target.pending, target.left_out) == ([], 0)


def test_clock_that_goes_back_does_not_hold_messages_back() -> None:
    target = Target("a")
    target.add(messages(1))
    send(target, NOW, accepted=0)
    earlier = NOW - 86_400
    assert send(target, earlier, accepted=0) == []
    assert send(target, earlier + 1800) == ["problem 1"]


def test_target_is_stored_without_its_url() -> None:
    assert target_id("json://user:secret@a.example") != target_id("json://user:other@a.example")
    assert len(target_id("json://user:secret@a.example")) == 8
