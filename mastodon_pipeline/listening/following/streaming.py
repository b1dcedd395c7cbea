"""Streams of server-sent events: open them, read them, cut them when they fall silent.

A TCP connection whose peer is gone reports nothing. Mastodon sends a comment every 15 s, so a
stream that is silent for a minute is dead. One task checks all streams once a second, because a
timer around each read would cost more than the read.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import aiohttp

from mastodon_pipeline.errors import UndecodableStatus, Unreachable
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.following.mode import Mode
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.protocol.sse import EventParser
from mastodon_pipeline.servers import Feed

_SWEEP_SECONDS = 1.0
_PATHS: dict[Feed, str] = {
    "public": "/api/v1/streaming/public",
    "local": "/api/v1/streaming/public/local",
    "remote": "/api/v1/streaming/public/remote",
}


class StreamContent(Protocol):
    """What a stream's bytes are awaited from: aiohttp's StreamReader."""

    def set_exception(self, exc: BaseException, /) -> None:
        """Raise this where bytes are awaited."""


class OpenStream:
    """An open stream, and when its last bytes came."""

    __slots__ = ("content", "last_bytes_at")

    def __init__(self, content: StreamContent) -> None:
        self.content = content
        self.last_bytes_at = time.monotonic()

    def cut(self, reason: str) -> None:
        """End the stream: its reader gets Unreachable."""
        self.content.set_exception(Unreachable(reason))


class Sweeper:
    """Cuts the streams that have been silent for too long."""

    def __init__(self, silence_seconds: float = DEFAULT_TIMINGS.silence_seconds) -> None:
        self._silence_seconds = silence_seconds
        self._pause_seconds = min(_SWEEP_SECONDS, silence_seconds / 4)
        self._streams: set[OpenStream] = set()

    def watch(self, stream: OpenStream) -> None:
        """Check this stream from now on."""
        self._streams.add(stream)

    def forget(self, stream: OpenStream) -> None:
        """Stop checking a stream: it has ended."""
        self._streams.discard(stream)

    async def run(self) -> None:
        """Sweep once a second, or more often for a short silence timeout, until cancelled."""
        swept_at = time.monotonic()
        while True:
            await asyncio.sleep(self._pause_seconds)
            now = time.monotonic()
            self.sweep(now, now - swept_at - self._pause_seconds)
            swept_at = now

    def sweep(self, now: float, delay_seconds: float) -> None:
        """Cut what has been silent for too long at `now`, monotonic seconds.

        `delay_seconds`: how much later than planned this sweep is. While this process was stopped
        or waited for Kafka nobody read: that time does not count as the servers' silence, and what
        has arrived is read first.
        """
        for stream in tuple(self._streams):
            if delay_seconds > _SWEEP_SECONDS:
                stream.last_bytes_at += delay_seconds
            if now - stream.last_bytes_at > self._silence_seconds:
                stream.cut(f"the stream was silent for {self._silence_seconds:g} s")


def stream_url(mode: Mode) -> str:
    """Return the URL of the feed's stream of server-sent events."""
    return f"{mode.streaming_url}{_PATHS[mode.feed]}"


async def follow_stream(
    mode: Mode,
    token: str,
    recorder: TootRecorder,
    connections: Connections,
    sweeper: Sweeper,
    on_open: Callable[[], None],
) -> None:
    """Record the stream's events until the server ends it; call `on_open` once it is open.

    Raises:
        Unreachable: it cannot be opened, or it breaks.
        Refused, UnsafeAddress, CrossHostRedirect: as `Connections.stream` does.
        DeliveryFailed: nothing more can be recorded.
    """
    async with connections.stream(stream_url(mode), token) as response:
        content = response.content
        stream, parser = OpenStream(content), EventParser()
        sweeper.watch(stream)
        on_open()
        try:
            while block := await content.readany():
                stream.last_bytes_at = time.monotonic()
                recorder.statistics.traffic.received_bytes += len(block)
                recorder.statistics.note_activity()
                take_block(block, parser, recorder)
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the stream broke: {network_reason(error)}") from None
        finally:
            sweeper.forget(stream)


def take_block(block: bytes, parser: EventParser, recorder: TootRecorder) -> None:
    """Record the events that a stream's next bytes complete. Raises DeliveryFailed."""
    for event in parser.feed(block):
        if event.cut:
            reason = UndecodableStatus(f"larger than {len(event.data)} bytes")
            recorder.dead_letter(event.data, event.name, reason)
        else:
            recorder.take(event.data, event.name, "stream")
