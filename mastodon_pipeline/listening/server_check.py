"""Trying, once, the way a server would be listened to: what `servers` and `login` tell a person."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread

from mastodon import Mastodon

from mastodon_pipeline.listening.discovery import (
    PARKING_REFUSALS,
    STREAM_REFUSALS,
    Discovered,
    Way,
    choose_way,
    discover,
    mastodon_client,
    refusal_reason,
)
from mastodon_pipeline.listening.network_reasons import network_reason
from mastodon_pipeline.listening.rate_budget import RateBudget
from mastodon_pipeline.listening.server_session import (
    REQUEST_TIMEOUT,
    CrossHostRedirect,
    Refused,
    ServerSession,
    UnsafeAddress,
)
from mastodon_pipeline.listening.stream_listener import BlockStreamListener
from mastodon_pipeline.listening.timeline_pages import TimelineReader
from mastodon_pipeline.settings import Server, Settings

_AT_ONCE = 16


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
    """Asks every server, 16 at a time; the checks come as they are done."""
    waiting: SimpleQueue[Server] = SimpleQueue()
    done: SimpleQueue[ServerCheck] = SimpleQueue()
    for server in servers:
        waiting.put(server)

    def check_some() -> None:
        with suppress(Empty):
            while server := waiting.get_nowait():
                done.put(check_server(server, settings, server.token))

    for _ in servers[:_AT_ONCE]:
        # Daemons, so that a Ctrl-C need not wait for the slowest server.
        Thread(target=check_some, name="server check", daemon=True).start()
    for _ in servers:
        yield done.get()


def check_server(server: Server, settings: Settings, token: str | None) -> ServerCheck:
    """Discovers one server and knocks: opens its stream, or asks for a page, and leaves.

    Never raises; takes a minute at the longest (three requests of at most 20 s).
    """
    session = ServerSession(settings.user_agent, settings.mastodon_allow_private_addresses)
    client = mastodon_client(server, token, session)
    found: Discovered | None = None
    try:
        found = discover(server, client)
        way = choose_way(server, found, token is not None)
        if way.kind == "stream" and (refusal := _stream_refusal(server, client)) is not None:
            way = choose_way(server, found, True, refusal)
        if way.kind == "poll":
            reader_token = token if way.with_token else None
            TimelineReader(server, reader_token, session, RateBudget(), Event()).knock()
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
    finally:
        session.close()


class _Knock(BlockStreamListener):
    """Leaves as soon as the stream is open."""

    def on_connected(self) -> None:
        self.interrupt()


def _stream_refusal(server: Server, client: Mastodon) -> Refused | None:
    try:
        client.stream_public(
            _Knock(),
            local=server.feed == "local",
            remote=server.feed == "remote",
            timeout=REQUEST_TIMEOUT,
        )
    except Refused as refused:
        if refused.status in STREAM_REFUSALS:
            return refused
        raise
    return None
