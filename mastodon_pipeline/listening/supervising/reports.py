"""What each listener run says of its servers, where the UI and the checks of any machine read it.

One row a group in the instance's key-value store, replaced every 30 s: about 550 bytes a server,
so 0.55 MB for a thousand. It also keeps the servers' rhythms over restarts; they move with a server
to its next group.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

import dagster as dg
import msgspec

from mastodon_pipeline.listening.following.statistics import ServerStatistics, State, UnfilledGap
from mastodon_pipeline.listening.supervising.rhythm import Rhythm
from mastodon_pipeline.listening.supervising.runs import JOB_NAME, keep, kept

GAPS_REPORTED = 5
"""The latest unfilled gaps of each server; the topic of the positions keeps more."""
LISTENING_STATES = ("streaming", "websocket", "polling")


class ServerReport(msgspec.Struct, frozen=True):
    """One server as its group's run sees it. Times in seconds since 1970, UTC."""

    server: str
    """Without the scheme, as `Server.name` has it."""
    feed: str
    state: State
    reason: str
    toots: int
    """Since the run began, as the other counts."""
    toots_per_minute: float
    lag_seconds: float | None
    dead_letters: int
    reconnects: int
    open_gaps: int
    gaps_filled: int
    gaps_lost: int
    unfilled_gaps: tuple[UnfilledGap, ...]
    rhythm: Rhythm

    def trouble(self, now: float) -> str:
        """What is wrong with it, or ''."""
        if self.state in ("parked", "stopped"):
            return f"{self.state}: {self.reason}"
        silence = self.rhythm.silence(now)
        if silence == "as usual":
            return ""
        silent = f"silent for {duration(self.rhythm.silent_seconds(now))}"
        why = f" ({self.state}: {self.reason})" if self.reason else f" ({self.state})"
        if self.rhythm.known:
            longest = duration(self.rhythm.longest_seconds)
            return f"{silent}; its longest pause in a week was {longest}{why}"
        return f"{silent}; too little is known of its rhythm{why}"


class GroupReport(msgspec.Struct, frozen=True):
    """All servers of a group."""

    group: str
    run_id: str
    written_at: float
    servers: tuple[ServerReport, ...]


class Reporter:
    """Watches a listener's servers, and makes reports of what it saw."""

    def __init__(
        self,
        statistics: Callable[[], Sequence[ServerStatistics]],
        remembered: Callable[[], dict[str, Rhythm]],
    ) -> None:
        """`remembered`: the rhythms that former runs kept, by `server_key`; asked when a server
        is new here."""
        self._statistics = statistics
        self._remembered = remembered
        self._rhythms: dict[str, Rhythm] = {}
        self._toots: dict[str, int] = {}

    def look(self, now: float) -> None:
        """Takes in which servers have had toots since the last look, half a second ago or so."""
        statistics = self._statistics()
        if self._rhythms.keys() != {_key(server) for server in statistics}:
            self._remember(statistics, now)
        for server in statistics:
            key = _key(server)
            self._rhythms[key].look(
                now,
                # Fewer than before: it is followed anew, with another token.
                new_toots=server.toots not in (0, self._toots[key]),
                listening=server.state in LISTENING_STATES and not server.open_gaps,
            )
            self._toots[key] = server.toots

    def reports(self) -> tuple[ServerReport, ...]:
        """A report for each server, in the listener's order."""
        return tuple(
            _report(server, self._rhythms[_key(server)])
            for server in self._statistics()
            if _key(server) in self._rhythms
        )

    def _remember(self, statistics: Sequence[ServerStatistics], now: float) -> None:
        # Those that left are forgotten: should they come back, somebody else may know more.
        former = self._rhythms
        remembered = self._remembered()
        self._rhythms = {}
        for server in statistics:
            key = _key(server)
            if key in former:
                self._rhythms[key] = former[key]
            else:
                rhythm = remembered.get(key) or Rhythm(since=now, looked_at=now)
                rhythm.resume(now)
                self._rhythms[key] = rhythm
                self._toots[key] = 0


def server_key(name: str, feed: str) -> str:
    """By what a server's feed is known in the reports."""
    return f"{name} {feed}"


def write_report(
    instance: dg.DagsterInstance, group: str, run_id: str, servers: Sequence[ServerReport]
) -> None:
    """Puts the group's report in place of its last one."""
    report = GroupReport(group, run_id, time.time(), tuple(servers))
    keep(instance, _key_of_report(group), msgspec.json.encode(report).decode())


def read_reports(instance: dg.DagsterInstance, groups: Sequence[str]) -> list[GroupReport]:
    """The latest reports of these groups, however old; a group that never wrote one has none.

    Nor has one whose report another version of the pipeline wrote in another form.
    """
    found = []
    for value in kept(instance, *map(_key_of_report, groups)):
        with contextlib.suppress(msgspec.ValidationError):
            found += [msgspec.json.decode(value, type=GroupReport)] if value else []
    return found


def remembered_rhythms(instance: dg.DagsterInstance, groups: Sequence[str]) -> dict[str, Rhythm]:
    """What was learnt of each server, by `server_key`; of several, what was seen last."""
    found: dict[str, Rhythm] = {}
    for report in sorted(read_reports(instance, groups), key=lambda report: report.written_at):
        for server in report.servers:
            found[server_key(server.server, server.feed)] = server.rhythm
    return found


def duration(seconds: float) -> str:
    """For people: `42 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for unit, length in (("days", 86_400), ("h", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _key(server: ServerStatistics) -> str:
    return server_key(server.server, server.feed)


def _report(server: ServerStatistics, rhythm: Rhythm) -> ServerReport:
    return ServerReport(
        server=server.server,
        feed=server.feed,
        state=server.state,
        reason=server.reason,
        toots=server.toots,
        toots_per_minute=round(server.toots_per_minute, 2),
        lag_seconds=None if server.lag_seconds is None else round(server.lag_seconds, 1),
        dead_letters=server.dead_letters,
        reconnects=server.reconnects,
        open_gaps=server.open_gaps,
        gaps_filled=server.gaps_filled,
        gaps_lost=server.gaps_lost,
        unfilled_gaps=server.unfilled_gaps[-GAPS_REPORTED:],
        rhythm=rhythm,
    )


def _key_of_report(group: str) -> str:
    return f"{JOB_NAME}/{group}/report"
