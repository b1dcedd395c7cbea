"""What counts as a problem, in terms of what Dagster's storage and the disks show.

Independent of Dagster, Kafka and the clock. Titles and details end up in other people's programs,
which may turn text into links, mentions or markup: so words that a stranger may have written (a
check's description, a connector's error) pass `plain_text`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

FLAPPING_FAILURES = 3
FLAPPING_SECONDS = 1800.0
"""A listener flaps if this many of its runs fail within this time. The supervisor waits 5 minutes
at most between two starts, so a listener that never starts is one with six."""
REPEATED_FAILURES = 3
FAILURE_MEMORY_SECONDS = 86_400.0
"""Failed runs that are older no longer count; nor do those before a success."""
FULL_SHARE = 0.1
FULL_BYTES = 10 * 1024**3
"""A disk is nearly full if less than a tenth of it is free, and less than 10 GiB."""
MAX_TITLE_CHARACTERS = 120
MAX_DETAIL_CHARACTERS = 400

Kind = Literal["listener", "server", "sink", "check", "disk", "clock", "run"]

_INERT = str.maketrans({"@": "＠", "<": "＜", ">": "＞", "`": "'", "[": "(", "]": ")"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong now."""

    key: str
    """`<kind>/<what>`: the same as long as it is the same problem."""
    title: str
    detail: str
    advice: str
    """What to do, in one sentence."""
    runbook: str
    """The entry of docs/operations.md, as the heading's anchor."""

    @property
    def kind(self) -> str:
        """A `Kind`: its key's first part."""
        return self.key.split("/", 1)[0]


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that succeeded or failed."""

    run_id: str
    job: str
    """The job's name, or for a listener its group."""
    failed: bool
    ended_at: float
    """Seconds since 1970, UTC."""
    first: str = ""
    """Its first partition's key; '' if it has no partition."""
    last: str = ""

    def covers(self, other: "EndedRun") -> bool:
        """Return whether it built at least the other's partitions. Keys sort by time."""
        return not other.first or (self.first <= other.first and other.last <= self.last)


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """An asset check's result of severity ERROR that no later one has overtaken."""

    asset: str
    name: str
    description: str
    partitions: str
    """Which partitions it was about, or ''."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system that the pipeline writes to; the unit is bytes."""

    path: str
    free: int
    total: int


def flapping_listeners(runs: Iterable[EndedRun], now: float) -> list[Problem]:
    """Return the groups whose runs failed repeatedly within the last half hour."""
    failures: dict[str, list[EndedRun]] = {}
    for run in runs:
        if run.failed and now - run.ended_at <= FLAPPING_SECONDS:
            failures.setdefault(run.job, []).append(run)
    return [
        Problem(
            f"listener/{group}",
            f"the listener of {plain_text(group, 60)} keeps failing",
            f"{len(failed)} of its runs failed within {FLAPPING_SECONDS / 60:.0f} minutes, "
            f"{_last_of(failed)}.",
            "Open that run in Dagster's UI: the end of its log says why.",
            "listener_supervisor",
        )
        for group, failed in sorted(failures.items())
        if len(failed) >= FLAPPING_FAILURES
    ]


def failing_runs(runs: Sequence[EndedRun], now: float) -> list[Problem]:
    """Return the jobs, with the partitions, that failed repeatedly and have not succeeded since."""
    failures: dict[tuple[str, str, str], list[EndedRun]] = {}
    for run in runs:
        if run.failed and now - run.ended_at <= FAILURE_MEMORY_SECONDS:
            failures.setdefault((run.job, run.first, run.last), []).append(run)
    problems = []
    for (job, first, last), failed in sorted(failures.items()):
        successes = [
            run.ended_at
            for run in runs
            if not run.failed and run.job == job and run.covers(failed[0])
        ]
        since = max(successes, default=0.0)
        failed = [run for run in failed if run.ended_at > since]
        if len(failed) >= REPEATED_FAILURES:
            partitions = _partitions(first, last)
            problems.append(
                Problem(
                    f"run/{job}/{first}/{last}",
                    f"{job} keeps failing{partitions}",
                    f"{len(failed)} runs failed without a success since, {_last_of(failed)}.",
                    "Open that run in Dagster's UI: the failed step says what is wrong.",
                    "schedules-and-jobs",
                )
            )
    return problems


def failed_checks(checks: Iterable[FailedCheck]) -> list[Problem]:
    """Return a problem for each asset check that is red."""
    return [
        Problem(
            f"check/{check.asset}/{check.name}",
            f"the check {check.name} of {check.asset} is red",
            f"{plain_text(check.description) or 'It gave no description'}{check.partitions}.",
            f"Look at the check's result in the UI, at the asset {check.asset}.",
            check.name,
        )
        for check in checks
    ]


def silent_server(feed: str, name: str, problem: str) -> Problem:
    """Return the problem of a server that is parked, silent or not followed."""
    parked = problem == "parked"
    return Problem(
        f"server/{feed}",
        f"{plain_text(name, 80)} is {'parked' if parked else 'not reporting'}",
        f"{plain_text(problem)}.",
        "Run `mastodon-pipeline servers`: it asks the server, and prints the reason."
        if parked
        else "Open the server's public timeline in a browser: are there new toots?",
        "server-states" if parked else "all_servers_reporting",
    )


def wrong_clock(difference: str) -> Problem:
    """Return the problem of this machine's clock."""
    return Problem(
        "clock/machine",
        "the clock is wrong: toots are counted in wrong hours",
        f"{plain_text(difference)}.",
        "Switch on time synchronisation, then build the hours since it was wrong again.",
        "all_servers_reporting",
    )


def unhealthy_sink(connector: str, state: str, detail: str) -> Problem:
    """Return the problem of a sink that fails, stands still, cannot be reached or loses records."""
    effect = "records do not land" if state == "dead-lettering" else "nothing lands"
    return Problem(
        "sink/health",
        f"the sink {plain_text(connector, 60)} is {state}: {effect}",
        f"{plain_text(detail)}.",
        "Most states are repaired without you; if this lasts, run `mastodon-pipeline doctor`.",
        "connector_supervisor",
    )


def growing_dead_letters(before: int, after: int) -> Problem | None:
    """Return the problem of a sink that puts records aside, from two counts in time order."""
    if after <= before:
        return None
    return Problem(
        "sink/dead-letters",
        f"the sink put {after - before} more records into the dead letters",
        f"{after} records of the topic are there instead of in the lake.",
        "`mastodon-pipeline consume --dead-letters --from-beginning` shows each reason.",
        "other-trouble",
    )


def nearly_full(disks: Iterable[Disk]) -> list[Problem]:
    """Return the disks that will soon be full."""
    return [
        Problem(
            f"disk/{disk.path}",
            f"the disk of {plain_text(disk.path, 90)} is nearly full",
            f"{_size(disk.free)} of {_size(disk.total)} are free. Kafka, MinIO and Dagster stop "
            "when nothing is.",
            "Make room, or keep less: RAW_RETENTION_DAYS, KAFKA_TOPIC_RETENTION_BYTES.",
            "other-trouble",
        )
        for disk in disks
        if disk.free < min(FULL_SHARE * disk.total, FULL_BYTES)
    ]


def plain_text(words: str, limit: int = MAX_DETAIL_CHARACTERS) -> str:
    """Return a stranger's words on one line, shortened, without markup, mentions or links."""
    shortened = words[: 4 * limit]
    printable = "".join(c if c.isprintable() else " " for c in shortened).translate(_INERT)
    text = " ".join(printable.replace("://", ":／／").split()).rstrip(".")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def format_time(moment: float) -> str:
    """Return a time (seconds since 1970) as `2026-11-26 10:02 UTC`."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


def _last_of(runs: Sequence[EndedRun]) -> str:
    last = max(runs, key=lambda run: run.ended_at)
    return f"the last at {format_time(last.ended_at)} (run {last.run_id[:8]})"


def _partitions(first: str, last: str) -> str:
    if not first:
        return ""
    first, last = plain_text(first, 30), plain_text(last, 30)
    return f" ({first})" if first == last else f" ({first} to {last})"


def _size(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.0f} MiB"
