"""Whether the page's numbers can be believed: what Dagster's storage knows of listeners and checks.

It is read beside the page, at most once a minute and only while somebody looks at it: no figure
waits for it. It is read by a process of its own, since Dagster would stay in memory with 80 MB.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import msgspec

from mastodon_pipeline.foreign_text import clean_line
from mastodon_pipeline.paths import data_directory
from mastodon_pipeline.settings import Settings, load_settings

READ_SECONDS = 60.0
"""Each time takes two seconds of CPU."""
READING_SECONDS = 60.0
"""How long it may take."""
STALE_SECONDS = 120.0
"""A report that is older is none: a listener reports every 30 s."""
MAX_LINES = 20


@dataclass(frozen=True, slots=True)
class Listened:
    """A server as its listener reports it."""

    name: str
    state: str
    listening: bool
    reason: str
    open_gaps: int
    unfilled_gaps: int
    newest_post_at: float | None
    """Seconds since 1970, UTC."""
    requests_per_hour: float = 0.0
    """Of its host, by all its feeds, as are bytes."""
    bytes_per_hour: float = 0.0
    rate_budget_used: float | None = None
    """How much of its rate limit, 0 to 1; None if it states none."""


@dataclass(frozen=True, slots=True)
class RedCheck:
    """A check whose failure stands."""

    asset: str
    name: str
    about: str


@dataclass(frozen=True, slots=True)
class Health:
    """What is known, and why the rest is not."""

    servers: tuple[Listened, ...] = ()
    red: tuple[RedCheck, ...] = ()
    checks: int = 0
    """How many have a result."""
    problem: str = ""

    @property
    def listening(self) -> int:
        """How many servers are listened to."""
        return sum(server.listening for server in self.servers)

    @property
    def states(self) -> str:
        """How many servers are in which state, the most frequent first."""
        states = Counter(server.state for server in self.servers)
        return ", ".join(f"{number} {state}" for state, number in states.most_common())

    def lines(self) -> list[str]:
        """Return a line for each thing that is not as it should be, plain text, the worst first."""
        checks = [f"{check.asset}: {check.name}: {check.about}" for check in self.red]
        silent = [
            f"{server.name}: {server.state}{': ' * bool(server.reason)}{server.reason}"
            for server in self.servers
            if not server.listening
        ]
        gaps = [
            f"{server.name}: {server.open_gaps} gaps are being filled,"
            f" {server.unfilled_gaps} could not be"
            for server in self.servers
            if server.open_gaps or server.unfilled_gaps
        ]
        lines = [*checks, *silent, *gaps]
        more = [f"and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
        return [*map(clean_line, lines[:MAX_LINES]), *more]

    def politeness(self) -> list[str]:
        """Return what the servers are asked for as aligned lines, the most asked first."""
        reporting = [server for server in self.servers if server.state != "no report"]
        busiest = sorted(reporting, key=lambda server: -server.requests_per_hour)[:MAX_LINES]
        rows = [("server", "requests/h", "kB/h", "of its limit")]
        for server in busiest:
            used = server.rate_budget_used
            rows.append(
                (
                    clean_line(server.name),
                    f"{server.requests_per_hour:,.0f}",
                    f"{server.bytes_per_hour / 1000:,.0f}",
                    "unknown" if used is None else f"{used:.0%}",
                )
            )
        width = max(len(row[0]) for row in rows)
        return [f"{row[0]:<{width}} {row[1]:>11} {row[2]:>9} {row[3]:>13}" for row in rows]


class HealthReader:
    """Reads the health of this machine's Dagster, beside the page."""

    def __init__(self, home: Path | None = None) -> None:
        """`home`: Dagster's, by default the stack's."""
        self._home = home or data_directory() / "dagster"
        self._worker = ThreadPoolExecutor(1, "health")
        self._lock = Lock()
        self._reading: Future[Health] | None = None
        self._latest: Health | None = None
        self._read_at = -READ_SECONDS

    def latest(self, wait_seconds: float = 0.0) -> Health | None:
        """Return what was read last, None before the first time; begin to read again if due."""
        with self._lock:
            if self._reading is None and time.monotonic() - self._read_at >= READ_SECONDS:
                self._reading = self._worker.submit(self._read)
                self._read_at = time.monotonic()
            reading = self._reading
        if reading is not None:
            try:
                self._latest = reading.result(wait_seconds)
            except TimeoutError:
                return self._latest
            with self._lock:
                self._reading = None
        return self._latest

    def _read(self) -> Health:
        if not (self._home / "dagster.yaml").exists():
            return Health(
                problem="No Dagster runs here, which knows of listeners and checks: make up."
            )
        command = [sys.executable, "-P", "-m", "mastodon_pipeline.dashboard.health"]
        try:
            result = subprocess.run(
                [*command, str(self._home)],
                capture_output=True,
                check=True,
                timeout=READING_SECONDS,
            )
            return msgspec.json.decode(result.stdout, type=Health)
        except (subprocess.SubprocessError, msgspec.MsgspecError):
            return Health(problem="Dagster's storage cannot be read now: mastodon-pipeline doctor")


def read_health(home: Path, settings: Settings, now: float) -> Health:
    """Read the servers' latest reports and the checks' results. `now`: seconds since 1970, UTC."""
    # Here, so that the page itself has no Dagster.
    from mastodon_pipeline.alerting.observing import red_checks
    from mastodon_pipeline.event_log import open_instance, stored_checks
    from mastodon_pipeline.listening.supervising.groups import group_names
    from mastodon_pipeline.listening.supervising.reports import latest_by_feed, load_reports

    with open_instance(home) as instance:
        reports = latest_by_feed(load_reports(instance, group_names(settings.listener_groups)))
        checks = stored_checks(instance)
        red = red_checks(instance, checks)
    servers = []
    for written_at, report in reports.values():
        snapshot = report.snapshot
        stale = now - written_at > STALE_SECONDS
        newest = snapshot.newest_post_at_ms
        servers.append(
            Listened(
                name=f"{snapshot.server.name}",
                state="no report" if stale else str(snapshot.state),
                listening=snapshot.listening and not stale,
                reason=f"the last is {(now - written_at) / 60:.0f} min old"
                if stale
                else snapshot.reason,
                open_gaps=snapshot.open_gaps,
                unfilled_gaps=len(snapshot.unfilled_gaps),
                newest_post_at=None if newest is None else newest / 1000,
                requests_per_hour=snapshot.requests_per_hour,
                bytes_per_hour=snapshot.bytes_per_hour,
                rate_budget_used=snapshot.rate_budget_used,
            )
        )
    return Health(
        servers=tuple(sorted(servers, key=lambda server: (server.listening, server.name))),
        red=tuple(RedCheck(c.asset, c.name, f"{c.description}{c.partitions}") for c in red),
        checks=len(checks),
    )


def newest_post(servers: Sequence[Listened]) -> float | None:
    """Return when the newest toot of all was posted: seconds since 1970, UTC."""
    return max((s.newest_post_at for s in servers if s.newest_post_at is not None), default=None)


if __name__ == "__main__":
    health_now = read_health(Path(sys.argv[1]), load_settings(), time.time())
    sys.stdout.buffer.write(msgspec.json.encode(health_now))
