"""What is happening now: the toots of the last hour, from the topic, counted in memory."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from confluent_kafka import Message, TopicPartition

from mastodon_pipeline.errors import TopicMissing
from mastodon_pipeline.kafka import offsets, open_consumer, partitions, read
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.registry import WritersSchemas
from mastodon_pipeline.settings import Settings

MINUTE_MS = 60_000
WINDOW_MINUTES = 60
WINDOW_MS = WINDOW_MINUTES * MINUTE_MS
RISING_MINUTES = 10
"""A hashtag rises if these minutes have more of it than the window before them."""
MAX_TOOTS = 200_000
"""Of the window that are read at the start, and told apart by their uris: 1 minute of the whole
Fediverse, or an hour of 55 toots a second."""
_MAX_NAMES = 5_000
"""Different servers, languages or hashtags of a minute, each; what exceeds them is not counted."""
_MIN_RISING = 3
_READ_SECONDS = 60.0


@dataclass(slots=True)
class _Minute:
    number: int
    """Since 1970."""
    servers: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ServerActivity:
    """The toots of one home server."""

    server: str
    last_minute: int
    """Toots that arrived within the last full minute."""
    last_hour: int
    newest_at: int
    """When its latest toot arrived, UTC milliseconds."""
    lag_ms: int | None
    """From the post to the arrival of its latest toot that was read live; None before one."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A picture of the last hour."""

    servers: list[ServerActivity]
    """The busiest of the hour first."""
    languages: list[tuple[str, int]]
    """Codes, '' for unknown, with toots of the hour; the most used first."""
    rising: list[tuple[str, int, float]]
    """Hashtags in small letters, toots of the last ten minutes, and how many ten minutes before
    them had on average; those that have grown most first."""

    @property
    def last_minute(self) -> int:
        """Toots of all servers within the last full minute."""
        return sum(server.last_minute for server in self.servers)

    @property
    def last_hour(self) -> int:
        """Toots of all servers within the hour."""
        return sum(server.last_hour for server in self.servers)


class RecentToots:
    """Counts the toots of the last hour by minute of arrival. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._minutes: deque[_Minute] = deque(maxlen=WINDOW_MINUTES + 1)
        self._uris: dict[str, None] = {}
        self._newest: dict[str, int] = {}
        self._lags: dict[str, int] = {}

    def add(self, record: TootRecord, arrived: int) -> None:
        """Count a record that arrived in the topic at this moment, UTC milliseconds.

        Each toot counts once, for its home server; edits, deletes and toots of the past do not.
        """
        if record.event != "update" or record.source in ("past", "replay"):
            return
        with self._lock:
            if record.uri in self._uris:
                return
            self._uris[record.uri] = None
            if len(self._uris) > MAX_TOOTS:
                del self._uris[next(iter(self._uris))]
            minute = self._minute(arrived // MINUTE_MS)
            if minute is None:
                return
            server = record.server
            _count(minute.servers, server)
            _count(minute.languages, record.language_primary)
            for tag in {name.lower() for name in record.tag_names}:
                _count(minute.tags, tag)
            if minute.servers.get(server):
                self._newest[server] = max(self._newest.get(server, 0), arrived)
                if record.source in ("stream", "poll"):
                    self._lags[server] = arrived - record.created_at

    def activity(self, now: int) -> Activity:
        """Return the picture at this moment, UTC milliseconds."""
        current = now // MINUTE_MS
        with self._lock:
            minutes = [m for m in self._minutes if current - WINDOW_MINUTES <= m.number <= current]
            servers = _total(minute.servers for minute in minutes)
            last = _total(m.servers for m in minutes if m.number == current - 1)
            for gone in self._newest.keys() - servers.keys():
                del self._newest[gone]
                self._lags.pop(gone, None)
            rows = [
                ServerActivity(
                    server, last[server], toots, self._newest[server], self._lags.get(server)
                )
                for server, toots in servers.most_common()
            ]
            languages = _total(minute.languages for minute in minutes).most_common()
            recent = _total(m.tags for m in minutes if m.number > current - RISING_MINUTES)
            before = _total(m.tags for m in minutes if m.number <= current - RISING_MINUTES)
        return Activity(rows, languages, _rising(recent, before))

    def _minute(self, number: int) -> _Minute | None:
        """Return the minute to count in; None if it has left the window."""
        # Partitions are read side by side, so a record may be of an earlier minute than the last.
        for minute in reversed(self._minutes):
            if minute.number == number:
                return minute
            if minute.number < number:
                break
        if self._minutes and number < self._minutes[-1].number - WINDOW_MINUTES:
            return None
        minute = _Minute(number)
        self._minutes.append(minute)
        if len(self._minutes) > 1 and self._minutes[-2].number > number:
            self._minutes = deque(sorted(self._minutes, key=_number), maxlen=WINDOW_MINUTES + 1)
        return minute


def add_recent(settings: Settings, toots: RecentToots, since: int) -> None:
    """Count what arrived in the topic since this moment, UTC milliseconds.

    Of more than `MAX_TOOTS` records the latest are read.

    Raises:
        KafkaUnavailable: no broker answers.
        TopicMissing: the topic does not exist.
    """
    topic = settings.kafka_topic
    with open_consumer(settings) as consumer:
        if not partitions(consumer, topic, _READ_SECONDS):
            raise TopicMissing(f"there is no topic {topic} yet: make up")
        held = offsets(consumer, topic, _READ_SECONDS)
        asked = [TopicPartition(topic, number, since) for number in held]
        starts = {
            start.partition: start.offset
            for start in consumer.offsets_for_times(asked, timeout=_READ_SECONDS)
        }
        ranges = _latest(held, starts, MAX_TOOTS)
        for _ in add_messages(settings, read(consumer, topic, ranges, _READ_SECONDS), toots):
            pass


def add_messages(
    settings: Settings, messages: Iterator[Message], toots: RecentToots
) -> Iterator[None]:
    """Count messages as they come, and yield after each; what is no record is passed over."""
    schemas = WritersSchemas(settings)
    for message in messages:
        with suppress(ValueError):
            toots.add(decode(message.value() or b"", schemas), message.timestamp()[1])
        yield


def _latest(held: Mapping[int, range], starts: Mapping[int, int], limit: int) -> dict[int, range]:
    """Return each partition's range from its start on, and of all `limit` offsets at most."""
    each = max(1, limit // max(1, len(held)))
    return {
        # An offset below zero means that nothing arrived since.
        number: range(
            max(offsets.start, offsets.stop - each, start if start >= 0 else offsets.stop),
            offsets.stop,
        )
        for number, offsets in held.items()
        for start in [starts.get(number, offsets.start)]
    }


def _rising(recent: Counter[str], before: Counter[str]) -> list[tuple[str, int, float]]:
    share = RISING_MINUTES / (WINDOW_MINUTES - RISING_MINUTES)
    rows = [
        (tag, toots, before[tag] * share)
        for tag, toots in recent.items()
        if toots >= _MIN_RISING and toots > before[tag] * share
    ]
    # One more than there were: a tag that was rare does not beat one that many begin to use.
    return sorted(rows, key=lambda row: ((row[1] + 1) / (row[2] + 1), row[1], row[0]), reverse=True)


def _count(counter: Counter[str], name: str) -> None:
    if name in counter or len(counter) < _MAX_NAMES:
        counter[name] += 1


def _total(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _number(minute: _Minute) -> int:
    return minute.number


def now_ms() -> int:
    """Return this moment, UTC milliseconds."""
    return time.time_ns() // 1_000_000
