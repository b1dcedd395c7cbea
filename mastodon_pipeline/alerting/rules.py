"""When a message is sent: one when a problem begins, one when it is over.

Pure: from what is observed now and what is remembered of earlier ticks.

- A problem is announced once it has lasted for its kind's delay: what repairs itself within
  minutes is nobody's message.
- It is over once it has been gone for five minutes. If it comes back within a day, that time
  doubles with each return, up to six hours: a problem that comes and goes every ten minutes is
  three messages, then one that stays open.
- What could not be observed has neither begun nor ended.
- More than three messages of a kind at once are one message.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from mastodon_pipeline.alerting.problems import Problem, format_time

BEGINS_AFTER_SECONDS: Mapping[str, float] = {"sink": 180.0, "server": 120.0}
"""How long a problem lasts before it is announced; other kinds at once. The sink's repairs take
30 s, and a listener that dies is back within 60 s."""
OVER_AFTER_SECONDS = 300.0
LONGEST_OVER_AFTER_SECONDS = 6 * 3600.0
REMEMBERED_SECONDS = 86_400.0
"""How long a problem that is over is remembered, to count its returns."""
MAX_SEPARATE = 3
MAX_LISTED = 10

Event = Literal["began", "over", "test"]


class Message(msgspec.Struct, frozen=True):
    """A message as a target gets it: plain text."""

    event: Event
    title: str
    body: str


class Tracked(msgspec.Struct):
    """A problem that was observed, now or within a day. Times: seconds since 1970, UTC."""

    key: str
    title: str
    detail: str
    advice: str
    runbook: str
    since: float
    announced: bool = False
    gone_since: float | None = None
    over_at: float | None = None
    times: int = 1
    """How many times it has begun, each within a day of the former end."""

    @property
    def over_after_seconds(self) -> float:
        """How long it must be gone before it is over."""
        return min(OVER_AFTER_SECONDS * 2.0 ** min(self.times - 1, 20), LONGEST_OVER_AFTER_SECONDS)


@dataclass(frozen=True, slots=True)
class Observation:
    """What is wrong now, and what could not be observed."""

    problems: Sequence[Problem]
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Key prefixes of problems that may or may not exist, each with the reason."""


def decide(
    tracked: Iterable[Tracked], observation: Observation, now: float
) -> tuple[list[Tracked], list[Message]]:
    """Return what to remember, and the messages to send, those of the longest problems first."""
    remembered = {t.key: msgspec.structs.replace(t) for t in tracked}
    for former in remembered.values():
        _clamp(former, now)
    observed = {problem.key: problem for problem in observation.problems}
    began, over = [], []
    for key, problem in observed.items():
        current = remembered[key] = _continued(remembered.get(key), problem, now)
        delay = BEGINS_AFTER_SECONDS.get(problem.kind, 0.0)
        if not current.announced and now - current.since >= delay:
            current.announced = True
            began.append(current)
    for key, former in list(remembered.items()):
        if key in observed or any(key.startswith(prefix) for prefix in observation.unknown):
            continue
        if former.over_at is not None:
            if now - former.over_at > REMEMBERED_SECONDS:
                del remembered[key]
        elif not former.announced:
            if former.times == 1:
                del remembered[key]
            else:
                former.times, former.over_at = former.times - 1, now
        else:
            former.gone_since = former.gone_since if former.gone_since is not None else now
            if now - former.gone_since >= former.over_after_seconds:
                former.over_at = now
                over.append(former)
    return list(remembered.values()), [*_messages("began", began), *_messages("over", over)]


def open_problems(tracked: Iterable[Tracked]) -> list[Tracked]:
    """Return the problems that were announced and are not over."""
    return [t for t in tracked if t.announced and t.over_at is None]


def still_open(tracked: Iterable[Tracked]) -> list[Message]:
    """Return the messages that a new target gets: the problems that are open already."""
    return _messages("began", open_problems(tracked))


def _continued(former: Tracked | None, problem: Problem, now: float) -> Tracked:
    if former is not None and former.over_at is None:
        since, times, announced = former.since, former.times, former.announced
    else:
        returned = former is not None and now - (former.over_at or 0.0) <= REMEMBERED_SECONDS
        since, announced = now, False
        times = former.times + 1 if former is not None and returned else 1
    return Tracked(
        problem.key,
        problem.title,
        problem.detail,
        problem.advice,
        problem.runbook,
        since=since,
        announced=announced,
        times=times,
    )


def _clamp(tracked: Tracked, now: float) -> None:
    """Forget times in the future: the clock went back, and would hold messages back for long."""
    tracked.since = min(tracked.since, now)
    tracked.gone_since = None if tracked.gone_since is None else min(tracked.gone_since, now)
    tracked.over_at = None if tracked.over_at is None else min(tracked.over_at, now)


def _messages(event: Literal["began", "over"], changed: Sequence[Tracked]) -> list[Message]:
    by_kind: dict[str, list[Tracked]] = {}
    for tracked in sorted(changed, key=lambda t: (t.since, t.key)):
        by_kind.setdefault(tracked.key.split("/", 1)[0], []).append(tracked)
    messages = []
    for kind, problems in by_kind.items():
        if len(problems) > MAX_SEPARATE:
            messages.append(_joined(event, kind, problems))
        else:
            messages += [_message(event, problem) for problem in problems]
    return messages


def _message(event: Literal["began", "over"], tracked: Tracked) -> Message:
    since = format_time(tracked.since)
    if event == "over":
        gone = format_time(tracked.gone_since or tracked.since)
        return Message(event, f"over: {tracked.title}", f"It lasted from {since} to {gone}.")
    begun = f"; it has begun {tracked.times} times, each within a day of the last"
    again = begun if tracked.times > 1 else ""
    return Message(
        event,
        tracked.title,
        f"{tracked.detail}\nSince {since}{again}.\nWhat to do: {tracked.advice} "
        f"See docs/operations.md#{tracked.runbook}",
    )


def _joined(event: Literal["began", "over"], kind: str, problems: Sequence[Tracked]) -> Message:
    lines = [f"- {problem.title}" for problem in problems[:MAX_LISTED]]
    if len(problems) > MAX_LISTED:
        lines.append(f"- and {len(problems) - MAX_LISTED} more")
    if event == "began":
        first = problems[0]
        lines.append(f"What to do: {first.advice} See docs/operations.md#{first.runbook}")
    title = f"{'over: ' if event == 'over' else ''}{len(problems)} problems with a {kind}"
    return Message(event, title, "\n".join(lines))
