"""Progress output: a line that is rewritten on a terminal, else a line now and then."""

import io
import sys

import pytest

from infra.native_stack import progress
from infra.native_stack.progress import Progress


@pytest.fixture
def lines() -> list[str]:
    return []


def test_terminal_line_is_rewritten_and_results_stay(lines: list[str]) -> None:
    terminal = io.StringIO()
    tasks = Progress(lines.append, terminal)

    tasks.begin("kafka", lambda: "12 MB")
    tasks.show()
    tasks.end("kafka", "54 MB")

    assert "\r\x1b[K  kafka: 12 MB, 0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K"), "the line is erased before the result"
    assert lines == ["  kafka: done, 54 MB, 0 s"]


def test_without_terminal_only_some_states_are_printed(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    tasks = Progress(lines.append)
    tasks.begin("kafka", lambda: "12 MB")

    tasks.show()
    assert lines == [], "nothing before the first interval has passed"
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    tasks.show()
    assert lines == ["  kafka: 12 MB, 0 s"]


def test_wait_for_ends_when_done_or_late(lines: list[str]) -> None:
    states = iter([(False, "1 of 2"), (True, "2 of 2")])
    tasks = Progress(lines.append, io.StringIO())

    assert tasks.wait_for(lambda: next(states), timeout_seconds=900)
    assert not tasks.wait_for(lambda: (False, "0 of 2"), timeout_seconds=-1)
    assert [line.partition(" (")[0] for line in lines] == ["  2 of 2", "  0 of 2"]
