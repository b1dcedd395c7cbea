"""What counts as a problem."""

import re

import pytest

from mastodon_pipeline.alerting.problems import (
    FULL_BYTES,
    Disk,
    EndedRun,
    FailedCheck,
    Problem,
    failed_checks,
    failing_runs,
    flapping_listeners,
    growing_dead_letters,
    nearly_full,
    plain_text,
    silent_server,
    unhealthy_sink,
    wrong_clock,
)
from mastodon_pipeline.paths import REPOSITORY

NOW = 1_800_000_000.0
GIB = 1024**3


def run(
    minutes_ago: float, failed: bool = True, job: str = "refresh", first: str = "", last: str = ""
) -> EndedRun:
    return EndedRun("0123456789", job, failed, NOW - 60 * minutes_ago, first, last or first)


def test_listener_flaps_if_three_of_its_runs_fail_in_half_an_hour() -> None:
    runs = [run(1, job="group-1"), run(5, job="group-1"), run(29, job="group-1")]
    other = [run(n, job="group-2") for n in (1, 10)] + [run(31, job="group-2")]
    [problem] = flapping_listeners([*runs, *other], NOW)
    assert problem.key == "listener/group-1"
    assert "3 of its runs failed" in problem.detail
    assert flapping_listeners(runs[:2], NOW) == []


def test_job_fails_repeatedly_if_three_runs_failed_since_its_last_success() -> None:
    assert failing_runs([run(1), run(2)], NOW) == []
    [problem] = failing_runs([run(1), run(2), run(3)], NOW)
    assert problem.title == "refresh keeps failing"
    assert "run 01234567" in problem.detail
    assert failing_runs([run(1), run(2), run(3), run(2.5, failed=False)], NOW) == []
    assert failing_runs([run(1), run(2), run(3), run(9, failed=False)], NOW)


def test_partition_that_fails_is_not_hidden_by_others_that_succeed() -> None:
    failures = [run(n, first="2026-11-24-15:00") for n in (1, 3, 5)]
    neighbour = run(0.5, failed=False, first="2026-11-24-16:00")
    [problem] = failing_runs([*failures, neighbour], NOW)
    assert problem.title == "refresh keeps failing (2026-11-24-15:00)"
    range_of_both = run(0.5, failed=False, first="2026-11-24-10:00", last="2026-11-24-16:00")
    assert failing_runs([*failures, range_of_both], NOW) == []


def test_failures_of_the_day_before_yesterday_are_no_problem() -> None:
    assert failing_runs([run(24 * 60 + n) for n in range(5)], NOW) == []


@pytest.mark.parametrize(
    ("free", "total", "full"),
    [
        (1, 20 * GIB, True),
        (GIB, 20 * GIB, True),
        (3 * GIB, 20 * GIB, False),
        (FULL_BYTES - 1, 4000 * GIB, True),
        (FULL_BYTES, 4000 * GIB, False),
    ],
)
def test_disk_is_nearly_full_below_a_tenth_and_ten_gib(free: int, total: int, full: bool) -> None:
    assert bool(nearly_full([Disk("/data", free, total)])) == full


def test_dead_letters_are_a_problem_if_they_grow() -> None:
    assert growing_dead_letters(5, 5) is None
    assert growing_dead_letters(5, 3) is None, "the topic forgets them after 30 days"
    problem = growing_dead_letters(5, 12)
    assert problem is not None
    assert "7 more records" in problem.title


def test_words_of_strangers_are_plain_bounded_text() -> None:
    """No mention, link, markup or control character that a chat program would act on."""
    text = plain_text(
        "@everyone <!channel> [x](https://evil.example) `rm`\r\n\x1b[31mred\u202e. " * 50
    )
    assert len(text) == 400
    assert not set("@<>[]`\r\n\x1b\u202e") & set(text)
    assert "://" not in text


def test_every_problem_points_to_an_entry_of_the_runbook() -> None:
    """With its advice in a sentence, and a title that a subject line can hold."""
    strangers = "x" * 10_000
    problems: list[Problem] = [
        *flapping_listeners([run(n, job=strangers) for n in range(3)], NOW),
        *failing_runs([run(n, first=strangers) for n in range(3)], NOW),
        *failed_checks([FailedCheck("toots", "no_duplicate_toots", strangers, "")]),
        silent_server("https://a.example/local", strangers, "parked"),
        silent_server("https://a.example/local", strangers, f"silent for {strangers}"),
        unhealthy_sink(strangers, "failed", strangers),
        *nearly_full([Disk(f"/{strangers}", 1, 100)]),
        wrong_clock(strangers),
    ]
    headings = re.findall(
        r"^#+ (.+)$", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for problem in problems:
        assert problem.runbook in anchors
        assert len(problem.title) <= 150
        assert len(problem.detail) <= 500
        assert problem.advice.endswith((".", "?"))
