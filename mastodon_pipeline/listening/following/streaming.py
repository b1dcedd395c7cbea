"""Streams of server-sent events: opened, read, and cut when they fall silent.

A TCP connection whose other end is gone says nothing at all. Mastodon sends a comment every 15 s,
so a stream that is silent for a minute is dead. One task looks at all streams once a second, for a
timer around each read would cost more than the read.
"""

import asyncio
import time
from typing import Protocol

import aiohttp

from mastodon_pipeline.errors import Unreachable
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.patience import PATIENT
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.following.discovery import Way
from mastodon_pipeline.listening.following.events import BlockStreamListener
from mastodon_pipeline.servers import Feed

_SWEEP_SECONDS = 1.0
_PATHS: dict[Feed, str] = {
    "public": "/api/v1/streaming/public",
    "local": "/api/v1/streaming/public/local",
    "remote": "/api/v1/streaming/public/remote",
}


class Cuttable(Protocol):
    """What bytes are awaited from: aiohttp's StreamReader."""

    def set_exception(self, exc: BaseException, /) -> None:
        """Whoever waits for bytes gets this instead."""


class OpenStream:
    """A stream's sign of life."""

    __slots__ = ("content", "heard_at")

    def __init__(self, content: Cuttable) -> None:
        self.content = content
        self.heard_at = time.monotonic()

    def cut(self, reason: str) -> None:
        """Ends the stream where it waits for bytes."""
        self.content.set_exception(Unreachable(reason))


class Sweeper:
    """Cuts the streams that have been silent for too long."""

    def __init__(self, silence_seconds: float = PATIENT.silence_seconds) -> None:
        self._silence = silence_seconds
        self._pause = min(_SWEEP_SECONDS, silence_seconds / 4)
        self._streams: set[OpenStream] = set()

    def watch(self, stream: OpenStream) -> None:
        """From now on."""
        self._streams.add(stream)

    def forget(self, stream: OpenStream) -> None:
        """The stream has ended."""
        self._streams.discard(stream)

    async def run(self) -> None:
        """Sweeps once a second (oftener where silence counts sooner), for ever."""
        swept_at = time.monotonic()
        while True:
            await asyncio.sleep(self._pause)
            now = time.monotonic()
            self.sweep(now, now - swept_at - self._pause)
            swept_at = now

    def sweep(self, now: float, late: float) -> None:
        """Cuts what was silent too long at `now`, monotonic seconds.

        `late`: how many seconds too late the sweeper comes. When this process was stopped, or
        waited for Kafka, nobody read: the time is forgiven, what has arrived is read first.
        """
        for stream in tuple(self._streams):
            if late > _SWEEP_SECONDS:
                stream.heard_at += late
            if now - stream.heard_at > self._silence:
                stream.cut(f"the stream was silent for {self._silence:g} s")


async def follow_events(
    way: Way,
    token: str,
    listener: BlockStreamListener,
    connections: Connections,
    sweeper: Sweeper,
) -> None:
    """Feeds the listener with the stream's bytes until the server ends it.

    Raises Refused where the server does not open it, Unreachable where it breaks (after
    `on_abort`), UnsafeAddress, CrossHostRedirect, and DeliveryFailed.
    """
    async with connections.stream(f"{way.streaming_url}{_PATHS[way.feed]}", token) as response:
        content = response.content
        stream = OpenStream(content)
        sweeper.watch(stream)
        listener.on_connected()
        try:
            while block := await content.readany():
                stream.heard_at = time.monotonic()
                listener.feed(block)
        except Unreachable as error:
            listener.on_abort(error)
            raise
        except (aiohttp.ClientError, OSError) as error:
            listener.on_abort(error)
            raise Unreachable(f"the stream broke: {network_reason(error)}") from None
        finally:
            sweeper.forget(stream)
