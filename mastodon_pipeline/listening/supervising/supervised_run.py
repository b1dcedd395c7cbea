"""What a listener run does for Dagster while it listens, from its first moment to its last.

It waits for a live predecessor to end, so that two never listen at once. Then every 5 s it checks
that it has not been replaced (the fence), applies its group's assignment, and sends a heartbeat;
every 30 s it reports on its servers, and sometimes it observes `mastodon_topic` (`observations`
says how often).
"""

import logging
import time
from collections.abc import Callable

import dagster as dg

from mastodon_pipeline.asset_keys import TOPIC_ASSET
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.supervising.checks import report_evaluation
from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS, Assignment, spread
from mastodon_pipeline.listening.supervising.lease import Lease
from mastodon_pipeline.listening.supervising.observations import (
    ObservationPace,
    observation_metadata,
)
from mastodon_pipeline.listening.supervising.observing import RunObserver
from mastodon_pipeline.listening.supervising.reports import Reporter, load_rhythms, save_report
from mastodon_pipeline.listening.supervising.runs import (
    is_current,
    load_assignment,
    predecessor,
    save_assignment,
    send_heartbeat,
    successor,
)
from mastodon_pipeline.settings import Settings

HEARTBEAT_SECONDS = 5.0
REPORT_SECONDS = 30.0
PREDECESSOR_SECONDS = 30.0
"""How long a run waits for its predecessor to end: longer than it takes to see that this one's
heartbeats have stopped, shorter than what makes itself look lost."""
_log = logging.getLogger(__name__)


def first_assignment(instance: dg.DagsterInstance, group: str, settings: Settings) -> Assignment:
    """Return what the group is to follow, as the supervisor saved it.

    If it never did (its sensor is off), return and save what the settings give the group.
    Raises SettingsError if the settings are wrong.
    """
    assignment = load_assignment(instance, group)
    if assignment is None:
        servers = spread(settings.servers(), settings.listener_groups).get(group, ())
        assignment = Assignment(servers, version=1, changed_at=time.time())
        save_assignment(instance, group, assignment)
    return assignment


def await_predecessor(
    instance: dg.DagsterInstance,
    group: str,
    run_id: str,
    timeout_seconds: float = PREDECESSOR_SECONDS,
) -> str | None:
    """Wait until no older run of the group is alive; after the timeout, return that run's id.

    The older run notices within 5 s that a newer one has started, flushes and ends. If its process
    is gone, it is seen to be silent.
    """
    observer = RunObserver()
    deadline = time.monotonic() + timeout_seconds
    while (older := predecessor(instance, group, run_id, observer)) is not None:
        if time.monotonic() > deadline:
            return older
        time.sleep(0.5)
    return None


class SupervisedRun:
    """A listener's periodic tasks under Dagster: fence, heartbeat, samples, reports."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        group: str,
        run_id: str,
        assignment: Assignment,
        listener: Listener,
        lease: Lease,
    ) -> None:
        self.marked_as_ended = False
        """Whether Dagster marked the run as ended while it still listened."""
        self.stop_reason: str | None = None
        self._instance = instance
        self._group = group
        self._run_id = run_id
        self._assignment = assignment
        self._listener = listener
        self._lease = lease
        self._reporter = Reporter(
            lambda: listener.statistics, lambda: load_rhythms(instance, ALL_GROUPS)
        )
        self._pace = ObservationPace(time.monotonic())
        self._tasks = [
            # The fence comes first: a run that was replaced while it hung must not send another
            # heartbeat.
            PeriodicTask(HEARTBEAT_SECONDS, self._check_fence_and_send_heartbeat),
            PeriodicTask(0.0, lambda: self._reporter.sample(time.time())),
            PeriodicTask(REPORT_SECONDS, self._report, first_after_seconds=HEARTBEAT_SECONDS),
        ]

    def run_due_tasks(self) -> None:
        """Run the tasks that are due; the listener's main thread calls this twice a second."""
        for task in self._tasks:
            if self.stop_reason is not None:
                return
            try:
                task.run_if_due()
            except Exception as error:
                # Dagster's storage may be busy or away for a moment; listening goes on. If it
                # stays away, the heartbeat grows stale and the supervisor replaces this run.
                _log.warning("Dagster's storage: %s: %s", type(error).__name__, error)

    def print_statistics(self) -> None:
        """Print one line per server to the run's compute log."""
        for statistics in self._listener.statistics:
            print(statistics.snapshot().line(), flush=True)

    def _check_fence_and_send_heartbeat(self) -> None:
        if not is_current(self._instance, self._run_id):
            self.marked_as_ended = True
            self._stop("this run was marked as ended")
            return
        if (newer := successor(self._instance, self._group, self._run_id)) is not None:
            self._stop(f"run {newer[:8]} takes over")
            return
        assignment = load_assignment(self._instance, self._group)
        if assignment is not None and not assignment.servers:
            self._stop(f"{self._group} has no servers any more")
            return
        if assignment is not None and assignment.version != self._assignment.version:
            _log.info("now following %s", ", ".join(s.name for s in assignment.servers))
            self._listener.change_servers(assignment.servers)
            self._assignment = assignment
        sent_at = time.monotonic()
        send_heartbeat(self._instance, self._group, self._run_id, self._followed_version())
        self._lease.renew(sent_at, self._follow_assignment)

    def _follow_assignment(self) -> None:
        self._listener.change_servers(self._assignment.servers)

    def _followed_version(self) -> int | None:
        """Return the assignment's version once the listener follows exactly its servers."""
        followed = {statistics.server for statistics in self._listener.statistics}
        return self._assignment.version if followed == set(self._assignment.servers) else None

    def _stop(self, reason: str) -> None:
        self.stop_reason = reason
        self._listener.stop()

    def _report(self) -> None:
        self.print_statistics()
        servers = self._reporter.reports()
        save_report(self._instance, self._group, self._run_id, servers)
        now = time.time()
        if self._pace.due(servers, now, time.monotonic()):
            # Not through the op's context, which keeps every event until the run has ended.
            self._instance.report_runless_asset_event(
                dg.AssetObservation(
                    TOPIC_ASSET,
                    description=f"reported by the listener run of {self._group}",
                    metadata={
                        **observation_metadata(self._group, servers, now),
                        "run": dg.MetadataValue.dagster_run(self._run_id),
                    },
                )
            )
            report_evaluation(self._instance)


class PeriodicTask:
    """A function that is due every `seconds` seconds, by the monotonic clock."""

    def __init__(
        self, seconds: float, function: Callable[[], None], first_after_seconds: float = 0.0
    ) -> None:
        self._seconds = seconds
        self._function = function
        self._due_at = time.monotonic() + first_after_seconds

    def run_if_due(self) -> None:
        """Call the function if it is due; an exception of it does not make it due earlier."""
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + self._seconds
            self._function()
