"""A sink and positions in memory, for listeners without Kafka."""

from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
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


class MemoryPositions:
    """Positions that survive a listener, within a test."""

    def __init__(self) -> None:
        self.positions: dict[str, SavedPosition] = {}

    @property
    def last_ids(self) -> dict[str, str]:
        """The id up to which each feed has been read."""
        return {
            key: saved.last_id for key, saved in self.positions.items() if saved.last_id is not None
        }

    def read(self) -> dict[str, SavedPosition]:
        return dict(self.positions)

    def write(self, key: str, position: SavedPosition) -> None:
        self.positions[key] = decode_position(encode_position(position))

    def flush(self) -> None:
        pass
