"""What each listener run reports of its servers, for the UI and the checks on any machine.

One row per group in the instance's key-value store, replaced every 30 s: about 650 bytes a server,
so 0.65 MB for a thousand, and twice that if each has five unfilled gaps. It also carries the
servers' rhythms over restarts; they move with a server to its next group.
"""

import contextlib
import time
from collections.abc import Callable, Sequence

import dagster as dg
import msgspec

from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.listening.following.statistics import (
    LISTENING_STATES,
    ServerSnapshot,
    ServerStatistics,
)
from mastodon_pipeline.listening.supervising.rhythm import Rhythm
from mastodon_pipeline.listening.supervising.runs import JOB_NAME, load_values, save_value
from mastodon_pipeline.servers import Server


class ServerReport(msgspec.Struct, frozen=True):
    """One server: its figures at the time of the report, and its rhythm."""

    snapshot: ServerSnapshot
    rhythm: Rhythm

    @property
    def parked(self) -> bool:
        """Whether it is not listened to until a person or time changes something."""
        return self.snapshot.state in ("parked", "stopped")

    def problem(self, now: float) -> str:
        """Return what is wrong with the server, or ''. `now`: seconds since 1970, UTC.

        Without the snapshot's `reason`, which may contain words of the server's: the UI shows
        descriptions as Markdown, so they must be our words alone.
        """
        if self.parked:
            return self.snapshot.state
        silence = self.rhythm.silence(now)
        if silence == "as usual":
            return ""
        silent = f"silent for {format_duration(self.rhythm.silent_seconds(now))}"
        if silence == "too long":
            longest = format_duration(self.rhythm.longest_seconds)
            known = f"its longest pause in a week was {longest}"
        else:
            known = "too little is known of its rhythm"
        return f"{silent}; {known} ({self.snapshot.state})"


class GroupReport(msgspec.Struct, frozen=True):
    """All servers of a group."""

    group: str
    run_id: str
    written_at: float
    """Seconds since 1970, UTC."""
    servers: tuple[ServerReport, ...]


class Reporter:
    """Samples a listener's counters to learn the servers' rhythms, and makes reports of both."""

    def __init__(
        self,
        statistics: Callable[[], Sequence[ServerStatistics]],
        saved_rhythms: Callable[[], dict[str, Rhythm]],
    ) -> None:
        """`saved_rhythms`: those of earlier runs, by `feed_key`; loaded if a server is new here."""
        self._statistics = statistics
        self._saved_rhythms = saved_rhythms
        self._rhythms: dict[str, Rhythm] = {}
        self._toots: dict[str, int] = {}
        """Each server's counter at the last sample."""

    def sample(self, now: float) -> None:
        """Observe which servers have had toots since the last sample, about half a second ago."""
        statistics = self._statistics()
        if self._rhythms.keys() != {_key(server.server) for server in statistics}:
            self._update_servers(statistics, now)
        for server in statistics:
            key = _key(server.server)
            self._rhythms[key].observe(
                now,
                # Fewer than before: it is followed from the start again, with another token.
                new_toots=server.toots not in (0, self._toots[key]),
                listening=server.state in LISTENING_STATES and not server.open_gaps,
            )
            self._toots[key] = server.toots

    def reports(self) -> tuple[ServerReport, ...]:
        """Return a report for each server that was sampled, in the listener's order."""
        return tuple(
            ServerReport(server.snapshot(), self._rhythms[key])
            for server in self._statistics()
            if (key := _key(server.server)) in self._rhythms
        )

    def _update_servers(self, statistics: Sequence[ServerStatistics], now: float) -> None:
        # Servers that left are forgotten: if they come back, another run may know more of them.
        former = self._rhythms
        saved = self._saved_rhythms()
        self._rhythms = {}
        for server in statistics:
            key = _key(server.server)
            if key in former:
                self._rhythms[key] = former[key]
            else:
                rhythm = saved.get(key) or Rhythm(since=now, observed_at=now)
                rhythm.resume(now)
                self._rhythms[key] = rhythm
                self._toots[key] = 0


def save_report(
    instance: dg.DagsterInstance, group: str, run_id: str, servers: Sequence[ServerReport]
) -> None:
    """Save the group's report in place of its last one."""
    report = GroupReport(group, run_id, time.time(), tuple(servers))
    save_value(instance, _report_key(group), msgspec.json.encode(report).decode())


def load_reports(instance: dg.DagsterInstance, groups: Sequence[str]) -> list[GroupReport]:
    """Return the latest reports of these groups, however old, oldest first.

    A group that never reported has none; nor has one whose report another version of the pipeline
    wrote in another form.
    """
    reports = []
    for value in load_values(instance, *map(_report_key, groups)):
        if value is not None:
            with contextlib.suppress(msgspec.ValidationError):
                reports.append(msgspec.json.decode(value, type=GroupReport))
    return sorted(reports, key=lambda report: report.written_at)


def latest_by_feed(reports: Sequence[GroupReport]) -> dict[str, tuple[float, ServerReport]]:
    """Return the last report of each server with its time (seconds since 1970), by `feed_key`.

    A server that changed groups is still in its former group's last report. `reports`: oldest
    first.
    """
    return {
        _key(server.snapshot.server): (report.written_at, server)
        for report in reports
        for server in report.servers
    }


def load_rhythms(instance: dg.DagsterInstance, groups: Sequence[str]) -> dict[str, Rhythm]:
    """Return the last known rhythm of each server, by `feed_key`."""
    latest = latest_by_feed(load_reports(instance, groups))
    return {key: server.rhythm for key, (_, server) in latest.items()}


def format_duration(seconds: float) -> str:
    """Return a duration for people: `42 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for unit, length in (("days", 86_400), ("h", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _key(server: Server) -> str:
    return feed_key(server.base_url, server.feed)


def _report_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/report"
