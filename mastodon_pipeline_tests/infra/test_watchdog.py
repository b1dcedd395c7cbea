"""Programs that run and do not answer."""

import re
from functools import partial
from pathlib import Path

from infra.native_stack.fetch import INFRA
from infra.native_stack.program import Program
from infra.native_stack.programs import CONNECT_NEEDS, CONNECT_TOPICS
from infra.native_stack.supervision import Process
from infra.native_stack.watchdog import LOOK_SECONDS, SILENT_LOOKS, STARTING_LOOKS, Watchdog


def process(name: str, pid: int = 7) -> Process:
    return Process(name, "RUNNING", pid, "", "")


def looks_until_killed(watchdog: Watchdog, *processes: Process) -> tuple[int, list[str]]:
    for number in range(1, 100):
        if hung := watchdog.look(processes):
            return number, [each.name for each, _ in hung]
    return 0, []


def test_program_that_stops_answering_is_killed_after_a_minute() -> None:
    answers = [True]
    watchdog = Watchdog({"registry": lambda: answers[0]})
    assert watchdog.look([process("registry")]) == []
    answers[0] = False
    assert looks_until_killed(watchdog, process("registry")) == (SILENT_LOOKS, ["registry"])


def test_program_that_has_just_started_has_more_time() -> None:
    watchdog = Watchdog({"registry": lambda: False})
    assert looks_until_killed(watchdog, process("registry")) == (STARTING_LOOKS, ["registry"])
    assert watchdog.look([process("registry", pid=8)]) == []
    assert looks_until_killed(watchdog, process("registry", pid=8))[0] == STARTING_LOOKS - 1


def test_program_that_up_still_waits_for_is_not_killed(tmp_path: Path) -> None:
    """On a busy machine `up` gives a program up with its log, not the watchdog without."""
    program = Program("registry", ("true",), lambda: False, tmp_path)
    assert program.start_seconds < STARTING_LOOKS * LOOK_SECONDS


def test_one_answer_starts_the_count_again() -> None:
    answers = iter([True, *[False] * (SILENT_LOOKS - 1), True, *[False] * 99])
    watchdog = Watchdog({"kafka": lambda: next(answers)})
    assert looks_until_killed(watchdog, process("kafka"))[0] == 2 * SILENT_LOOKS + 1


def test_connect_is_not_blamed_while_what_it_needs_is_away() -> None:
    """Kafka is what is hung, and is killed."""
    answers = dict.fromkeys(["kafka", "minio", "registry", "connect"], True)
    watchdog = Watchdog({name: partial(answers.__getitem__, name) for name in answers})
    programs = [process(name) for name in answers]
    assert watchdog.look(programs) == []
    answers |= {"kafka": False, "connect": False}
    assert looks_until_killed(watchdog, *programs) == (SILENT_LOOKS, ["kafka"])
    assert looks_until_killed(watchdog, *programs[1:]) == (0, [])


def test_daemon_is_not_watched_as_its_probe_asks_the_webserver() -> None:
    watchdog = Watchdog({"dagster-daemon": lambda: False})
    assert looks_until_killed(watchdog, process("dagster-daemon")) == (0, [])


def test_connect_that_lost_its_topics_is_killed_at_the_next_look() -> None:
    """Kafka's data was wiped. Connect may answer for minutes, but its sink never runs again."""
    topics_are_missing = [False]
    watchdog = Watchdog({"connect": lambda: True}, {"connect": lambda: topics_are_missing[0]})
    assert looks_until_killed(watchdog, process("connect")) == (0, [])
    topics_are_missing[0] = True
    assert watchdog.look([process("connect")]) == [(process("connect"), "has lost its topics")]


def test_connect_that_has_just_started_may_still_create_its_topics() -> None:
    answers = {name: lambda: True for name in CONNECT_NEEDS} | {"connect": lambda: False}
    watchdog = Watchdog(answers, {"connect": lambda: True})
    killed = looks_until_killed(watchdog, *map(process, answers))
    assert killed == (STARTING_LOOKS, ["connect"])


def test_watchdog_knows_the_topics_of_the_worker() -> None:
    worker = (INFRA / "connect" / "worker.properties").read_text()
    assert set(re.findall(r"^\w+\.storage\.topic=(\S+)$", worker, re.M)) == CONNECT_TOPICS
