"""Trying, once, the mode in which a server would be followed: for `servers` and `login`."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from mastodon_pipeline.errors import CrossHostRedirect, Refused, ServerError, UnsafeAddress
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.rate_budget import RateBudget, RateBudgets
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.robots import RobotsFiles
from mastodon_pipeline.listening.following.instance import InstanceInfo, InstanceProbe
from mastodon_pipeline.listening.following.mode import (
    PARKING_REFUSALS,
    Mode,
    Refusals,
    after_refusal,
    choose_mode,
    described,
    feed_access,
    refusal_reason,
)
from mastodon_pipeline.listening.following.owner_view import hidden_from_owner
from mastodon_pipeline.listening.following.robots_rules import refusal_of_api, refusal_of_stream
from mastodon_pipeline.listening.following.streaming import stream_url
from mastodon_pipeline.listening.following.timeline import TimelineReader
from mastodon_pipeline.listening.following.websocket import websocket_url
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerTrial:
    """How one server let us in."""

    server: Server
    info: InstanceInfo | None
    """What it says about itself; None if it could not be fetched."""
    mode: Mode | None
    """How it will be followed; None if it cannot be reached now and would be tried again."""
    reason: str
    hidden: str = ""
    """What the token's owner does not see of the feed, and so we do not; '' if nothing is known."""


def try_servers(servers: Sequence[Server], settings: Settings) -> Iterator[ServerTrial]:
    """Try every server, dozens at a time; yield the results as they come."""
    results: SimpleQueue[ServerTrial | BaseException] = SimpleQueue()

    async def try_all() -> None:
        async with Connections(settings) as connections:
            probe = InstanceProbe(settings, budgets := RateBudgets())
            robots = RobotsFiles(settings, budgets)

            async def try_one(server: Server) -> None:
                results.put(await _try(server, server.token, connections, probe, robots))

            await asyncio.gather(*map(try_one, servers))

    def run() -> None:
        try:
            asyncio.run(try_all())
        except BaseException as error:
            results.put(error)

    # A daemon thread, so that a Ctrl-C does not wait for the slowest server.
    Thread(target=run, name="server trials", daemon=True).start()
    for _ in servers:
        result = results.get()
        if isinstance(result, BaseException):
            raise result
        yield result


def try_server(server: Server, settings: Settings, token: str | None) -> ServerTrial:
    """Fetch one server's instance info, then open its stream, or request a page, and leave.

    With a token a page of a public feed is compared with the one that anybody sees.

    Never raises; takes minutes at most (20 s per request).
    """

    async def run() -> ServerTrial:
        async with Connections(settings) as connections:
            probe = InstanceProbe(settings, budgets := RateBudgets())
            robots = RobotsFiles(settings, budgets)
            return await _try(server, token, connections, probe, robots)

    return asyncio.run(run())


async def _try(
    server: Server,
    token: str | None,
    connections: Connections,
    probe: InstanceProbe,
    robots: RobotsFiles,
) -> ServerTrial:
    info: InstanceInfo | None = None
    try:
        if refusal := await refusal_of_api(server, robots):
            return ServerTrial(server, info, Mode("park", refusal), refusal)
        answer = await probe.fetch(server, token)
        info = None if answer.failure else answer.info
        refusals = Refusals(stream=answer.token_refusal)
        mode = choose_mode(server, answer.info, token is not None, refusals)
        if (refused_stream := await refusal_of_stream(mode, robots)) is not None:
            refusals = Refusals(stream=refused_stream)
            mode = choose_mode(server, answer.info, token is not None, refusals)
        while (refused := await _refusal(server, mode, token, connections)) is not None:
            next_refusals = after_refusal(refusals, mode, refused)
            if next_refusals is None:
                raise refused
            refusals = next_refusals
            mode = choose_mode(server, answer.info, token is not None, refusals)
        hidden = await _hidden(server, mode, answer.info, token, connections)
        return ServerTrial(server, info, mode, described(mode, answer.failure).words, hidden)
    except (UnsafeAddress, CrossHostRedirect) as error:
        return ServerTrial(server, info, Mode("park", str(error)), str(error))
    except Refused as refused:
        reason = refusal_reason(server, refused, token is not None)
        parked = refused.status in PARKING_REFUSALS and not refused.is_bot_wall
        return ServerTrial(server, info, Mode("park", reason) if parked else None, reason)
    except Exception as error:
        # Whatever is wrong with this server, the others are still wanted.
        return ServerTrial(server, info, None, network_reason(error))


async def _refusal(
    server: Server, mode: Mode, token: str | None, connections: Connections
) -> Refused | None:
    """Try the mode and return how the server refuses it; None if it does not."""
    try:
        if mode.kind == "stream":
            async with connections.stream(stream_url(mode), token or ""):
                pass
        elif mode.kind == "websocket":
            async with connections.websocket(websocket_url(mode), token or ""):
                pass
        elif mode.kind == "poll":
            await _page(server, mode, token if mode.with_token else None, connections)
    except Refused as refused:
        return refused
    return None


async def _page(
    server: Server, mode: Mode, token: str | None, connections: Connections
) -> list[bytes]:
    return await TimelineReader(
        server.base_url, mode.feed, token, connections, RateBudget()
    ).check()


async def _hidden(
    server: Server, mode: Mode, info: InstanceInfo, token: str | None, connections: Connections
) -> str:
    """Return what the token's owner does not see of a feed that anybody may read."""
    if not mode.with_token or feed_access(mode.feed, info) != "public":
        return ""
    try:
        everybody = await _page(server, mode, None, connections)
        return hidden_from_owner(everybody, await _page(server, mode, token, connections))
    except ServerError:
        return ""  # A feed that is not public after all.
