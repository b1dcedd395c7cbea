"""A sink and positions in memory, for listeners without Kafka."""

import threading
from collections.abc import Collection

from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.records.record import ObservingServer, TootRecord
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter
from mastodon_pipeline.listening.topic.positions import decode_position, encode_position
from mastodon_pipeline.servers import parse_server


class RecordingSink:
    """Keeps what it is given; acknowledges at once, or when `acknowledge_all` is called."""

    def __init__(self, acknowledging: bool = True) -> None:
        self.records: list[TootRecord] = []
        self.dead_letters: list[DeadLetter] = []
        self.waiting: list[Acknowledged] = []
        self.acknowledging = acknowledging
        self.closed = False

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        self.records.append(record)
        self._acknowledge(acknowledged)

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        self.dead_letters.append(letter)
        self._acknowledge(acknowledged)

    def poll(self) -> None:
        pass

    def close(self, timeout_seconds: float) -> None:
        self.closed = True

    def acknowledge_all(self) -> None:
        while self.waiting:
            self.waiting.pop()()

    def uris(self, event: str = "update") -> list[str]:
        """Return the uris of the events of one kind, in order."""
        return [record.uri for record in self.records if record.event == event]

    def _acknowledge(self, acknowledged: Acknowledged) -> None:
        if self.acknowledging:
            acknowledged()
        else:
            self.waiting.append(acknowledged)


def recorder_into(sink: RecordingSink, start: str | None = None) -> TootRecorder:
    """Build the recorder of a server `a.example` whose feed has been read up to `start`."""
    return TootRecorder(
        ObservingServer("https://a.example", "a.example"),
        sink,
        SeenToots(),
        FeedPosition(start),
        ServerStatistics(parse_server("a.example")),
    )


class MortalSink(RecordingSink):
    """Acknowledges when it is polled, and can be killed as a process is."""

    def __init__(self, positions: "MemoryPositions") -> None:
        super().__init__(acknowledging=False)
        self._positions = positions
        self._lock = threading.Lock()
        self._dead = False

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        with self._lock:
            if not self._dead:
                super().send(record, acknowledged)

    def poll(self) -> None:
        with self._lock:
            if not self._dead:
                self.acknowledge_all()

    def kill(self) -> None:
        """Let nothing that happens from now on leave the process, as after kill -9.

        Records that are not acknowledged yet are lost, half of them at least.
        """
        with self._lock:
            self._dead = self._positions.frozen = True
            unacknowledged = len(self.waiting)
            acknowledged = len(self.records) - unacknowledged
            self.records = self.records[:acknowledged] + self.records[acknowledged::2]


class MemoryPositions:
    """Positions that survive a listener, within a test."""

    def __init__(self) -> None:
        self.positions: dict[str, SavedPosition] = {}
        self.frozen = False
        """Whether what is written is lost: the process that writes was killed."""
        self.tallies: dict[str, SavedTally] = {}

    @property
    def last_ids(self) -> dict[str, str]:
        """The id up to which each feed has been read."""
        return {
            key: saved.last_id for key, saved in self.positions.items() if saved.last_id is not None
        }

    def read(self, feeds: Collection[str] = ()) -> dict[str, SavedPosition]:
        return dict(self.positions)

    def check(self) -> None:
        pass

    def write_tally(self, tally: SavedTally) -> bool:
        if not self.frozen:
            self.tallies[tally.key] = tally
        return True

    def write(self, key: str, position: SavedPosition) -> None:
        if not self.frozen:
            self.positions[key] = decode_position(encode_position(position))

    def flush(self) -> None:
        pass
