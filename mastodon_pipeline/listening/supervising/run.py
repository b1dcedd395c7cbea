"""What a listener run owes to Dagster while it listens, from its first moment to its last.

It waits for a living predecessor to end, so that two never listen at once. Then every 5 s it looks
whether it may go on (the fence), applies what its group is assigned, and beats; every 30 s it
reports on its servers, and now and then it observes `mastodon_topic` (`listener_observation` says
how often).
"""

import logging
import time
from collections.abc import Callable, Sequence

import dagster as dg

from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.supervising.checks import report_evaluation
from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS, Assignment, spread
from mastodon_pipeline.listening.supervising.observations import (
    ObservationPace,
    observation_metadata,
)
from mastodon_pipeline.listening.supervising.reports import (
    Reporter,
    remembered_rhythms,
    server_key,
    write_report,
)
from mastodon_pipeline.listening.supervising.runs import (
    assign,
    assignment_of,
    beat,
    is_current,
    predecessor,
    successor,
)
from mastodon_pipeline.listening.supervising.topic_asset import TOPIC_ASSET
from mastodon_pipeline.settings import Server, Settings

BEAT_SECONDS = 5.0
REPORT_SECONDS = 30.0
PREDECESSOR_SECONDS = 15.0
"""How long a run waits for its predecessor's end; shorter than what makes itself look lost."""
_log = logging.getLogger(__name__)


def first_assignment(instance: dg.DagsterInstance, group: str, settings: Settings) -> Assignment:
    """What the group shall follow, as the supervisor noted it.

    Where it never has (its sensor is off), what the settings give the group; that is noted then.
    Raises SettingsError.
    """
    assignment = assignment_of(instance, group)
    if assignment is None:
        servers = spread(settings.servers(), settings.listener_groups).get(group, ())
        assignment = Assignment(servers, version=1, changed_at=time.time())
        assign(instance, group, assignment)
    return assignment


def await_predecessor(
    instance: dg.DagsterInstance,
    group: str,
    run_id: str,
    seconds: float = PREDECESSOR_SECONDS,
) -> str | None:
    """Returns once no older run of the group is alive; else, after so many seconds, its id.

    The older run sees within 5 s that a newer one has started, flushes and ends.
    """
    deadline = time.monotonic() + seconds
    while (older := predecessor(instance, group, run_id)) is not None:
        if time.monotonic() > deadline:
            return older
        time.sleep(0.5)
    return None


class SupervisedRun:
    """A listener's beat under Dagster."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        group: str,
        run_id: str,
        assignment: Assignment,
        listener: Listener,
    ) -> None:
        self.disowned = False
        """Whether Dagster marked the run as ended while it still listened."""
        self.stop_reason: str | None = None
        self._instance = instance
        self._group = group
        self._run_id = run_id
        self._assignment = assignment
        self._listener = listener
        self._reporter = Reporter(
            lambda: listener.statistics, lambda: remembered_rhythms(instance, ALL_GROUPS)
        )
        self._pace = ObservationPace(time.monotonic())
        self._duties = [
            # The fence comes first: a run that was replaced while it hung must not beat once more.
            _Duty(BEAT_SECONDS, self._fence_and_beat),
            _Duty(0.0, lambda: self._reporter.look(time.time())),
            _Duty(REPORT_SECONDS, self._report, first_after=BEAT_SECONDS),
        ]

    def beat(self) -> None:
        """Called by the listener's main thread twice a second."""
        for duty in self._duties:
            if self.stop_reason is not None:
                return
            try:
                duty.when_due()
            except Exception as error:
                # Dagster's storage may be busy or away for a moment; listening goes on. If it
                # stays away the heartbeat grows stale, and that is the supervisor's business.
                _log.warning("Dagster's storage: %s: %s", type(error).__name__, error)

    def print_statistics(self) -> None:
        """A line a server, to the run's compute log."""
        for server in self._listener.statistics:
            print(server.line(), flush=True)

    def _fence_and_beat(self) -> None:
        if not is_current(self._instance, self._run_id):
            self.disowned = True
            self._stop("this run was marked as ended")
            return
        if (newer := successor(self._instance, self._group, self._run_id)) is not None:
            self._stop(f"run {newer[:8]} takes over")
            return
        assignment = assignment_of(self._instance, self._group)
        if assignment is not None and not assignment.servers:
            self._stop(f"{self._group} has no servers any more")
            return
        if assignment is not None and assignment.version != self._assignment.version:
            _log.info("now following %s", ", ".join(s.name for s in assignment.servers))
            self._listener.change_servers(assignment.servers)
            self._assignment = assignment
        beat(self._instance, self._group, self._run_id, self._followed_version())

    def _followed_version(self) -> int | None:
        """The assignment's version, once the listener really follows those servers."""
        followed = {server_key(one.server, one.feed) for one in self._listener.statistics}
        return self._assignment.version if followed == _keys(self._assignment.servers) else None

    def _stop(self, reason: str) -> None:
        self.stop_reason = reason
        self._listener.stop()

    def _report(self) -> None:
        self.print_statistics()
        servers = self._reporter.reports()
        write_report(self._instance, self._group, self._run_id, servers)
        now = time.time()
        if self._pace.due(servers, now, time.monotonic()):
            # Not through the op's context, which keeps every event until the run has ended.
            self._instance.report_runless_asset_event(
                dg.AssetObservation(
                    TOPIC_ASSET,
                    description=f"as listener {self._group} has it",
                    metadata={
                        **observation_metadata(self._group, servers, now),
                        "run": dg.MetadataValue.dagster_run(self._run_id),
                    },
                )
            )
            report_evaluation(self._instance)


class _Duty:
    def __init__(self, seconds: float, do: Callable[[], None], first_after: float = 0.0) -> None:
        self._seconds = seconds
        self._do = do
        self._due = time.monotonic() + first_after

    def when_due(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._do()


def _keys(servers: Sequence[Server]) -> set[str]:
    return {server_key(server.name, server.feed) for server in servers}
