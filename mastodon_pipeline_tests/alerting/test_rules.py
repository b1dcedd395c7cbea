"""When a message is sent: one when a problem begins, one when it is over."""

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.alerting.problems import Problem
from mastodon_pipeline.alerting.rules import (
    Message,
    Observation,
    Tracked,
    decide,
    open_problems,
    still_open,
)

NOW = 1_800_000_000.0
MINUTE = 60.0
DAY = 86_400.0


def problem(key: str = "check/landed_toots/landed_toots_complete") -> Problem:
    return Problem(key, f"{key} is wrong", "2 are missing.", "Look at it.", "other-trouble")


GROUP_1, GROUP_2 = problem("listener/group-1"), problem("listener/group-2")


class Ticks:
    """The sensor's ticks, a minute apart, with what it remembers between them."""

    def __init__(self) -> None:
        self.now = NOW
        self.tracked: list[Tracked] = []

    def tick(self, *problems: Problem, unknown: Sequence[str] = ()) -> list[Message]:
        observation = Observation(problems, dict.fromkeys(unknown, "the storage is busy"))
        self.tracked, messages = decide(self.tracked, observation, self.now)
        self.now += MINUTE
        return messages

    def run(self, minutes: int, *problems: Problem) -> list[Message]:
        return [message for _ in range(minutes) for message in self.tick(*problems)]


def titles(messages: Iterable[Message]) -> list[str]:
    return [message.title for message in messages]


def test_a_problem_is_one_message_when_it_begins_and_one_when_it_is_over() -> None:
    ticks = Ticks()
    [began] = ticks.run(60, problem())
    [over] = ticks.run(60)
    assert (began.event, over.event) == ("began", "over")
    assert over.title == f"over: {began.title}"
    assert "Since 2027-01-15 08:00 UTC" in began.body
    assert "2027-01-15 08:00 UTC to 2027-01-15 09:00 UTC" in over.body
    assert open_problems(ticks.tracked) == []


def test_a_message_says_what_to_do_and_where_to_read_on() -> None:
    [began] = Ticks().tick(problem())
    assert "What to do: Look at it. See docs/operations.md#other-trouble" in began.body


def test_a_sink_that_repairs_itself_within_two_minutes_is_no_message() -> None:
    ticks = Ticks()
    assert ticks.run(2, problem("sink/health")) == []
    assert ticks.run(60) == []
    assert ticks.tracked == []
    assert len(ticks.run(4, problem("sink/health"))) == 1


def test_problem_that_comes_and_goes_every_minute_is_one_message() -> None:
    ticks = Ticks()
    messages = [m for _ in range(600) for m in (*ticks.tick(problem()), *ticks.tick())]
    assert titles(messages) == [problem().title]


def test_problem_that_comes_and_goes_every_ten_minutes_does_not_flood() -> None:
    """72 times in a day: three messages, then it stays open."""
    ticks = Ticks()
    messages = [m for _ in range(72) for m in (*ticks.run(10, problem()), *ticks.run(10))]
    assert [m.event for m in messages] == ["began", "over", "began"]
    assert "it has begun 2 times" in messages[-1].body
    [over] = ticks.run(10)
    assert over.event == "over"


def test_problem_that_returns_every_hour_is_a_handful_of_messages_a_day() -> None:
    ticks = Ticks()
    messages = [m for _ in range(24) for m in (*ticks.run(30, problem()), *ticks.run(30))]
    assert [m.event for m in messages] == ["began", "over"] * 3 + ["began"]


def test_returns_are_not_counted_after_a_quiet_day() -> None:
    ticks = Ticks()
    ticks.run(5, problem())
    ticks.run(6)
    ticks.run(int(DAY / MINUTE) + 2)
    assert ticks.tracked == []
    [again] = ticks.tick(problem())
    assert "it has begun" not in again.body


def test_two_groups_are_two_problems() -> None:
    ticks = Ticks()
    assert titles(ticks.tick(GROUP_1)) == [GROUP_1.title]
    assert titles(ticks.tick(GROUP_1, GROUP_2)) == [GROUP_2.title]
    assert titles(ticks.run(10, GROUP_2)) == [f"over: {GROUP_1.title}"]


def test_what_cannot_be_observed_has_neither_begun_nor_ended() -> None:
    ticks = Ticks()
    ticks.tick(GROUP_1)
    for _ in range(600):
        assert ticks.tick(unknown=["listener/"]) == []
    assert open_problems(ticks.tracked)
    assert titles(ticks.run(10)) == [f"over: {GROUP_1.title}"]


def test_many_problems_of_a_kind_at_once_are_one_message() -> None:
    servers = [problem(f"server/{n:02}.example") for n in range(30)]
    ticks = Ticks()
    [began] = ticks.run(5, *servers)
    assert began.title == "30 problems with a server"
    assert "- server/00.example is wrong" in began.body
    assert "- and 20 more" in began.body
    [over] = ticks.run(10)
    assert over.title == "over: 30 problems with a server"


def test_clock_that_goes_back_holds_no_message_for_long() -> None:
    ticks = Ticks()
    ticks.run(5, problem())
    ticks.tick()
    ticks.now -= DAY
    assert [m.event for m in ticks.run(10)] == ["over"]


def test_new_target_is_sent_what_is_open() -> None:
    ticks = Ticks()
    ticks.run(5, GROUP_1, GROUP_2)
    ticks.run(10, GROUP_2)
    assert titles(still_open(ticks.tracked)) == [GROUP_2.title]


@given(st.lists(st.sampled_from(["there", "gone", "unknown"]), max_size=300))
def test_messages_of_a_problem_alternate_whatever_is_observed(ticks: list[str]) -> None:
    """Began, over, began, ...: never two of the same, and what is said last is what is open."""
    state = Ticks()
    events = []
    for each in ticks:
        problems = [GROUP_1] if each == "there" else []
        messages = state.tick(*problems, unknown=["listener/"] if each == "unknown" else [])
        events += [message.event for message in messages]
    assert events == [("began", "over")[n % 2] for n in range(len(events))]
    assert bool(open_problems(state.tracked)) == (len(events) % 2 == 1)
