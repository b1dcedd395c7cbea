"""Where a toot's time goes on its way from the socket to Kafka, stage by stage, in CPU time."""

import asyncio
import statistics
import time
from collections.abc import Callable

from benchmarks.listeners import Meter, SimulatedServer
from benchmarks.many_streams import CountingSink
from infra.simulator.plan import build_plan
from infra.simulator.status import status_json
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.following.mode import Mode
from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.streaming import Sweeper, follow_stream
from mastodon_pipeline.listening.protocol.statuses import Status, decode_status
from mastodon_pipeline.listening.protocol.text import plain_text
from mastodon_pipeline.listening.records.record import (
    ObservingServer,
    Source,
    TootRecord,
    toot_record,
)
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.topic.encoding import encode
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import load_settings

_NOON = 1_780_000_000_000
_OBSERVER = ObservingServer("https://harbour.example", "harbour.example")
_REPETITIONS = 3


def payloads(count: int) -> list[bytes]:
    """Return this many statuses as the simulated server streams them."""
    plan = build_plan([_OBSERVER.domain], count, 6.0, 7, _NOON)
    ids = plan.ids[_OBSERVER.domain]
    return [status_json(toot, toot.server, ids.at(toot.created_at)) for toot in plan.toots]


def measure_stages(statuses: list[bytes]) -> dict[str, float]:
    """Return CPU microseconds a toot by stage, each alone with its data at hand: medians of three.

    They add up to less than the listener takes, which also hands toots from stage to stage.
    """
    count = len(statuses)
    decoded = [decode_status(payload) for payload in statuses]
    records = _records(decoded)
    text = _alone(lambda: [plain_text(status.content or "") for status in decoded], count)
    encoding = _alone(lambda: [encode(record, 1) for record in records], count)
    return {
        "reading (socket, HTTP, events)": _median(lambda: asyncio.run(_read(count))),
        "decoding (JSON to a typed status)": _alone(
            lambda: [decode_status(payload) for payload in statuses], count
        ),
        "text (HTML to plain)": text,
        "record (the topic's fields)": _alone(lambda: _records(decoded), count) - text,
        "encoding (Avro)": encoding,
        "producing (librdkafka, reports)": _median(lambda: _send(records)) - encoding,
    }


def _records(statuses: list[Status]) -> list[TootRecord]:
    return [toot_record(status, "update", _OBSERVER, "stream", _NOON) for status in statuses]


def _alone(work: Callable[[], object], toots: int) -> float:
    def measure() -> float:
        meter = Meter()
        meter.start()
        work()
        return meter.stop(toots).microseconds

    return _median(measure)


def _median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(_REPETITIONS))


def _send(records: list[TootRecord]) -> float:
    sink, _ = open_kafka(load_settings(kafka_topic=f"bench-stage-{time.time_ns()}"))
    meter = Meter()
    meter.start()
    for record in records:
        sink.send(record, _acknowledged)
    sink.close(60)
    return meter.stop(len(records)).microseconds


def _acknowledged() -> None:
    pass


class _CountingRecorder(TootRecorder):
    """Counts a stream's toots and does nothing else with them."""

    def __init__(self, expected: int) -> None:
        statistics = ServerStatistics(parse_server(_OBSERVER.base_url))
        super().__init__(_OBSERVER, CountingSink(), SeenToots(), FeedPosition(None), statistics)
        self.done = asyncio.Event()
        self._left = expected

    def take(self, payload: bytes, event: str, source: Source) -> tuple[str, bool]:
        if event == "update":
            self._left -= 1
            if self._left == 0:
                self.done.set()
        return "", False


async def _read(toots: int) -> float:
    settings = load_settings(mastodon_allow_private_addresses=True)
    recorder, connected = _CountingRecorder(toots), asyncio.Event()
    with SimulatedServer(toots) as simulated:
        mode = Mode("stream", "", with_token=True, streaming_url=simulated.url)
        async with Connections(settings) as connections:
            reading = asyncio.create_task(
                follow_stream(
                    mode, simulated.token, recorder, connections, Sweeper(), connected.set
                )
            )
            await connected.wait()
            meter = Meter()
            meter.start()
            simulated.start()
            await recorder.done.wait()
            taken = meter.stop(toots)
            reading.cancel()
    return taken.microseconds
