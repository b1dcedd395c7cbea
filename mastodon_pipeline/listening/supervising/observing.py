"""Judge by one's own clock how long a run has been silent.

A heartbeat's time is that of the run's machine, which may be a minute off: it is never compared
with another machine's. What counts is since when an observer has seen the same heartbeat, by the
observer's monotonic clock, which nobody sets.
"""

import time
from collections.abc import Callable, Hashable, Iterable


class RunObserver:
    """Remembers when this process first saw each run as it is now.

    A process that has just started has seen nothing before: to it, every run gave a sign of life
    at its first look. So a restart of the supervisor delays a replacement by what has passed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def silent_seconds(self, run_id: str, sign: Hashable) -> float:
        """Return for how many seconds the run has been seen with this same sign of life."""
        now = self._clock()
        last = self._seen.get(run_id)
        if last is None or last[0] != sign:
            self._seen[run_id] = last = (sign, now)
        return now - last[1]

    def forget_all_but(self, run_ids: Iterable[str]) -> None:
        """Forget the runs that nobody asks about any more."""
        self._seen = {run_id: self._seen[run_id] for run_id in run_ids if run_id in self._seen}
