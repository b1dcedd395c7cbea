"""Trying, once, the way a server would be listened to: what `servers` and `login` tell a person."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from mastodon_pipeline.errors import CrossHostRedirect, Refused, UnsafeAddress
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.rate_budget import RateBudget, RateBudgets
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.following.discoverer import Discoverer
from mastodon_pipeline.listening.following.discovery import (
    PARKING_REFUSALS,
    Discovered,
    Refusals,
    Way,
    after_refusal,
    choose_way,
    refusal_reason,
)
from mastodon_pipeline.listening.following.events import BlockStreamListener
from mastodon_pipeline.listening.following.streaming import Sweeper, follow_events
from mastodon_pipeline.listening.following.timeline import TimelineReader
from mastodon_pipeline.listening.following.websocket import follow_messages
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerCheck:
    """What one server said."""

    server: Server
    found: Discovered | None
    """Its account of itself; None where it gave none."""
    way: Way | None
    """How it will be listened to; None where it cannot be reached now and will be tried again."""
    reason: str


def check_servers(servers: Sequence[Server], settings: Settings) -> Iterator[ServerCheck]:
    """Asks every server, two dozen at a time; the checks come as they are done."""
    done: SimpleQueue[ServerCheck | BaseException] = SimpleQueue()

    async def check_all() -> None:
        async with _Checking(settings) as checking:

            async def check(server: Server) -> None:
                done.put(await checking.check(server, server.token))

            await asyncio.gather(*map(check, servers))

    def run() -> None:
        try:
            asyncio.run(check_all())
        except BaseException as error:
            done.put(error)

    # A daemon, so that a Ctrl-C need not wait for the slowest server.
    Thread(target=run, name="server checks", daemon=True).start()
    for _ in servers:
        one = done.get()
        if isinstance(one, BaseException):
            raise one
        yield one


def check_server(server: Server, settings: Settings, token: str | None) -> ServerCheck:
    """Discovers one server and knocks: opens its stream, or asks for a page, and leaves.

    Never raises; takes minutes at the longest (each request at most 20 s).
    """

    async def check() -> ServerCheck:
        async with _Checking(settings) as checking:
            return await checking.check(server, token)

    return asyncio.run(check())


class _Checking:
    def __init__(self, settings: Settings) -> None:
        self._connections = Connections(settings)
        self._discoverer = Discoverer(settings, RateBudgets())

    async def __aenter__(self) -> "_Checking":
        await self._connections.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connections.__aexit__()

    async def check(self, server: Server, token: str | None) -> ServerCheck:
        found: Discovered | None = None
        try:
            discovery = await self._discoverer.ask(server, token)
            found = discovery.found
            refusals = Refusals(stream=discovery.token_refusal)
            way = choose_way(server, found, token is not None, refusals)
            while (refused := await self._knock(server, way, token)) is not None:
                after = after_refusal(refusals, way, refused)
                if after is None:
                    raise refused
                refusals = after
                way = choose_way(server, found, token is not None, refusals)
            return ServerCheck(server, found, way, way.reason)
        except (UnsafeAddress, CrossHostRedirect) as error:
            return ServerCheck(server, found, Way("park", str(error)), str(error))
        except Refused as refused:
            reason = refusal_reason(server, refused, token is not None)
            way_now = Way("park", reason) if refused.status in PARKING_REFUSALS else None
            return ServerCheck(server, found, way_now, reason)
        except Exception as error:
            # Whatever one server does to us, the others are still wanted.
            return ServerCheck(server, found, None, network_reason(error))

    async def _knock(self, server: Server, way: Way, token: str | None) -> Refused | None:
        """Tries the way; how the server refuses it, or None where it lets us in."""
        listener = _Knock()
        try:
            if way.kind == "poll":
                reader_token = token if way.with_token else None
                reader = TimelineReader(
                    server.base_url, way.feed, reader_token, self._connections, RateBudget()
                )
                await reader.knock()
            elif way.kind == "stream":
                await follow_events(way, token or "", listener, self._connections, Sweeper())
            elif way.kind == "websocket":
                await follow_messages(way, token or "", listener, self._connections)
        except _Open:
            return None
        except Refused as refused:
            return refused
        return None


class _Open(Exception):
    """The stream is open, which is all that was asked."""


class _Knock(BlockStreamListener):
    """Leaves as soon as the stream is open."""

    def on_connected(self) -> None:
        raise _Open
