"""What became of everything that a feed sent, as counts by UTC hour of receiving.

The ledger balances them with what landed. They are ints that the event loop increments; what the
broker acknowledged is added an epoch of the feed's position at a time.
"""

import msgspec

from mastodon_pipeline.listening.records.record import Source

HOUR_MS = 3_600_000
_KEPT_HOURS = 2


def tally_source(base_url: str, source: Source) -> str:
    """Return the name of a source in the ledger: the server, apart from a reading of its past.

    A listener and a backfill of one server are balanced separately: what one reads must not make
    up for what the other loses.
    """
    return f"{base_url} past" if source == "past" else base_url


class SavedTally(msgspec.Struct, frozen=True):
    """One source's counts of one hour, since the listener `run` began."""

    run: str
    started_at: int
    """When the listener began, UTC milliseconds."""
    source: str
    """Whose toots: see `tally_source`."""
    hour: int
    """Of receiving: its start, UTC milliseconds."""
    received: int = 0
    """New, edited and deleted toots that the server sent or listed, each as often as it did."""
    acknowledged: int = 0
    """Their records that the broker has."""
    repeated: int = 0
    """Known already, so not recorded again; a bad toot again, too."""
    boosts: int = 0
    not_public: int = 0
    excluded: int = 0
    """Of blocked authors, or of such who opted out if those are not counted."""
    dead_letters: int = 0
    """Could not be recorded, and were sent to the dead letters."""
    dropped: int = 0
    """Could not be recorded, and were too many for the dead letters."""
    ended: bool = False
    """The listener has ended, and everything acknowledged is counted."""
    written_at: int = 0
    """UTC milliseconds."""
    from_landed: bool = False
    """As of the feed's position: see `SavedPosition`."""
    topic_id: str = ""
    """Of the topic that has the acknowledged records; '' if it is unknown."""

    @property
    def key(self) -> str:
        """Identifies the tally, whatever its counts."""
        return f"{self.run} {self.source} {self.hour}"

    @property
    def left_out(self) -> int:
        """What was not recorded, for a reason."""
        not_wanted = self.boosts + self.not_public + self.excluded
        return self.repeated + not_wanted + self.dead_letters + self.dropped

    @property
    def open(self) -> int:
        """What was received and is neither acknowledged nor left out."""
        return self.received - self.acknowledged - self.left_out


class HourTally:
    """One hour's counts, which grow. Only the event loop writes them, but for `acknowledged`."""

    __slots__ = (
        "acknowledged",
        "boosts",
        "dead_letters",
        "dropped",
        "excluded",
        "hour",
        "not_public",
        "received",
        "repeated",
        "unsent",
    )

    def __init__(self, hour: int) -> None:
        self.hour = hour
        self.received = self.repeated = self.boosts = self.not_public = 0
        self.excluded = self.dead_letters = self.dropped = 0
        self.acknowledged = 0
        """Written by `FeedPosition.advance` alone; with those in `unsent`."""
        self.unsent = 0
        """Records that the sink refused, so that nothing was sent."""


class Tallies:
    """One feed's tallies since its listener began. `at` is for the event loop alone."""

    __slots__ = ("_current", "_ends", "_hours", "_saved")

    def __init__(self) -> None:
        self._current = HourTally(0)
        self._ends = HOUR_MS
        self._hours: dict[int, HourTally] = {}
        self._saved: dict[int, SavedTally] = {}

    def at(self, now: int) -> HourTally:
        """Return the tally of an hour; `now`: UTC milliseconds."""
        if self._ends - HOUR_MS <= now < self._ends:
            return self._current
        hour = now - now % HOUR_MS
        self._ends = hour + HOUR_MS
        self._current = self._hours.setdefault(hour, HourTally(hour))
        return self._current

    def changed(self, template: SavedTally) -> list[SavedTally]:
        """Return what has changed since it was saved, with the template's run, source and times.

        Hours of which nothing more can come are forgotten.
        """
        changed = []
        for hour, tally in list(self._hours.items()):
            current = msgspec.structs.replace(
                template,
                hour=hour,
                received=tally.received,
                acknowledged=tally.acknowledged - tally.unsent,
                repeated=tally.repeated,
                boosts=tally.boosts,
                not_public=tally.not_public,
                excluded=tally.excluded,
                dead_letters=tally.dead_letters,
                dropped=tally.dropped,
            )
            before = self._saved.get(hour)
            if before is None or current != msgspec.structs.replace(
                before, written_at=current.written_at
            ):
                changed.append(current)
            elif current.open == 0 and hour < self._ends - (1 + _KEPT_HOURS) * HOUR_MS:
                del self._hours[hour], self._saved[hour]
        return changed

    def note_saved(self, tally: SavedTally) -> None:
        """Note that a tally is on its way to the store."""
        self._saved[tally.hour] = tally
