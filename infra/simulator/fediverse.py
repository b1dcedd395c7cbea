"""The simulated Fediverse: servers on loopback, and the clock that publishes their toots.

The plan's window is in the past; the clock runs through it at `speed` times real time, so that
hours of toots are published in seconds. It starts once every server has a listener.
"""

import asyncio
import contextlib
import logging
import os
import random
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from infra.simulator.content import Toot, Writer
from infra.simulator.instance import ServerPolicy
from infra.simulator.plan import PlannedEvent, build_plan
from infra.simulator.ports import LOOPBACK, ServerPort
from infra.simulator.routes import application
from infra.simulator.server import SimulatedServer, delete, edit
from infra.simulator.truth import TrueToot, true_toots
from infra.simulator.weather import ORDINARY, Delays, Weather

SETTLE_SECONDS = 1.0
"""The pause between the last server's first listener and the first toot, so that a client that only
probed a server by a poll has started to listen."""
_TICK_SECONDS = 0.02
_LIVE_NUMBERS_FROM = 1_000_000

_log = logging.getLogger(__name__)


def default_servers(count: int) -> tuple[ServerPolicy, ...]:
    """Return servers of three kinds in turn: closed feeds with streaming, only polling, all open.

    Raises ValueError for fewer than one.
    """
    if count < 1:
        raise ValueError("a Fediverse has at least one server")
    names = ("harbour", "meadow", "orbit", "lantern", "quarry", "saltmarsh")
    return tuple(
        ServerPolicy(
            f"{names[n] if n < len(names) else f'server{n + 1}'}.example",
            token=n % 3 != 1,
            local_feed="authenticated" if n % 3 == 0 else "public",
            remote_feed="public" if n % 3 == 2 else "authenticated",
        )
        for n in range(count)
    )


@dataclass(frozen=True, slots=True)
class Options:
    """Parameters; the same seed, servers, toots, hours and end give the same truth."""

    servers: tuple[ServerPolicy, ...] = field(default_factory=lambda: default_servers(3))
    toots: int = 3000
    hours: float = 6.0
    seed: int = 7
    end: int | None = None
    """The end of the window, UTC milliseconds since the epoch; None: now."""
    speed: float | None = None
    """Times faster than real time; None: the window takes 20 s; infinite: at once."""
    start: Literal["listeners", "now", "control"] = "listeners"
    """What publication waits for: a listener at every server, nothing, or `start_publishing`."""
    live_rate: float = 0.0
    """Toots per second over all servers after the plan is done."""
    first_port: int = 0
    """The first server's port, the others follow; 0: free ports."""
    host: str = LOOPBACK
    """By which the servers are reached; another than loopback opens the ports on all addresses."""
    weather: Weather = ORDINARY


class Fediverse:
    """Servers, plan and clock in an event loop."""

    def __init__(self, options: Options) -> None:
        end = options.end if options.end is not None else int(time.time() * 1000)
        domains = [policy.domain for policy in options.servers]
        tokenless = [policy.domain for policy in options.servers if not policy.token]
        self.options = options
        self.plan = build_plan(
            domains, options.toots, options.hours, options.seed, end, no_deletes=tokenless
        )
        self._live_rng = random.Random(f"{options.seed} live")
        self._live = Writer(self.plan.authors, self._live_rng, number_from=_LIVE_NUMBERS_FROM)
        self.live_toots: list[Toot] = []
        self.live_rate = options.live_rate
        self.servers = [
            SimulatedServer(policy, self.plan.authors[policy.domain], None)
            for policy in options.servers
        ]
        for server in self.servers:
            server.delays = Delays(options.weather, f"{options.seed} {server.domain}")
        self.by_domain = {server.domain: server for server in self.servers}
        self.applied_events = 0
        self.started, self.done = asyncio.Event(), asyncio.Event()
        self._ports: list[ServerPort] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open every server's port and start the clock.

        Tokens come from the pipeline's variables (`MASTODON_TOKEN_127_0_0_1_<port>`), or are
        generated.

        Raises PortInUseError.
        """
        for position, server in enumerate(self.servers):
            first = self.options.first_port
            await self._open_server(server, first and first + position)
            self._tasks.append(
                asyncio.create_task(server.streams.thump(server.policy.thump_seconds))
            )
        self._tasks.append(asyncio.create_task(self._run()))

    async def _open_server(self, server: SimulatedServer, port: int) -> None:
        server.host = self.options.host
        server.port = server.streaming_port = await self._open_port(server, port)
        if server.policy.streams_apart:
            server.streaming_port = await self._open_port(server, 0)
        if server.policy.token:
            server.tokens.user = os.environ.get(token_variable(server)) or secrets.token_urlsafe(32)

    async def _open_port(self, server: SimulatedServer, number: int) -> int:
        port = ServerPort(application(server), server.policy.tls, self.options.host)
        self._ports.append(port)
        server.ports.append(port)
        return await port.open(number)

    async def serve(self, app: web.Application, port: int) -> int:
        """Serve an application on a port (0: a free one) until `close`; return the port.

        Raises PortInUseError.
        """
        self._ports.append(ServerPort(app, host=self.options.host))
        return await self._ports[-1].open(port)

    async def close(self) -> None:
        """Close every stream properly, and every port, within a second."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for server in self.servers:
            server.streams.end()
        await asyncio.gather(*(port.close() for port in self._ports))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Every open address."""
        return [address for port in self._ports for address in port.addresses]

    @property
    def toots(self) -> list[Toot]:
        """Every public toot, published or planned, with live ones last."""
        return [*self.plan.toots, *self.live_toots]

    def truth(self) -> list[TrueToot]:
        """List every public toot published so far."""
        id_text = {s.domain: s.dialect.id_text for s in self.servers}
        gotosocial = {s.domain for s in self.servers if s.policy.software == "gotosocial"}
        return true_toots(self.toots, id_text, gotosocial)

    def status(self) -> dict[str, Any]:
        """Return the progress of publication, and listeners by server."""
        published = sum(toot.published for toot in self.toots)
        return {
            "planned": len(self.plan.toots),
            "published": published,
            "started": self.started.is_set(),
            "done": self.done.is_set(),
            "live_rate": self.live_rate,
            "servers": [
                {
                    "domain": server.domain,
                    "base_url": server.base_url,
                    "access": "streaming with a token" if server.policy.token else "polling",
                    "listed": len(server.timeline),
                    "streams_open": len(server.streams),
                    "streams_opened": server.served["streams"],
                    "polls": server.served["polls"],
                    "events_sent": server.served["events"],
                }
                for server in self.servers
            ],
        }

    async def _run(self) -> None:
        try:
            await self._await_start()
            await self._publish_plan()
            self.done.set()
            await self._publish_live()
        except Exception:
            _log.exception("the simulated Fediverse's clock has stopped")
            raise

    async def _await_start(self) -> None:
        if self.options.start == "now":
            self.started.set()
        elif self.options.start == "listeners":
            self._tasks.append(asyncio.create_task(self._await_listeners()))
        await self.started.wait()

    async def _await_listeners(self) -> None:
        for server in self.servers:
            await server.listened.wait()
        await asyncio.sleep(SETTLE_SECONDS)
        self.started.set()

    async def _publish_plan(self) -> None:
        window = (self.plan.end - self.plan.start) / 1000
        speed = self.options.speed if self.options.speed is not None else window / 20
        self._set_speed(speed)
        began = time.monotonic()
        events = self.plan.events
        while self.applied_events < len(events):
            clock = self.plan.start + (time.monotonic() - began) * speed * 1000
            burst = 0
            while self.applied_events < len(events) and events[self.applied_events].at <= clock:
                self._apply(events[self.applied_events])
                self.applied_events += 1
                burst += 1
                if burst % 100 == 0:
                    await asyncio.sleep(0)  # let the streams send
            await asyncio.sleep(_TICK_SECONDS)
        self._set_speed(1.0)

    def _set_speed(self, speed: float) -> None:
        for server in self.servers:
            server.delays.speed = speed

    async def _publish_live(self) -> None:
        while True:
            if self.live_rate <= 0:
                await asyncio.sleep(0.2)
                continue
            await asyncio.sleep(1 / self.live_rate)
            self.publish_now(self._live_rng.choice(self.servers).domain)

    def publish_now(self, domain: str) -> Toot:
        """Publish a toot on this server now, by its clock; it is part of the truth."""
        at = int((time.time() + self.by_domain[domain].clock_seconds) * 1000)
        toot = self._live.toot(domain, at)
        self.live_toots.append(toot)
        self._apply(PlannedEvent(at, "publish", toot, domain, self.plan.ids[domain].by_clock(at)))
        others = [server.domain for server in self.servers if server.domain != domain]
        if others and self._live_rng.random() < 0.25:
            observer = self._live_rng.choice(others)
            asyncio.get_running_loop().call_later(1.5, self._copy_now, toot, observer)
        return toot

    def fetch_late(self, observer: str, home: str, seconds_ago: float) -> Toot:
        """Let `observer` fetch a toot that was written on `home` some time ago.

        Mastodon derives its id from the toot's time, so it is listed below ids that clients have
        already read. It is part of the truth, and no longer listed on `home`.
        """
        now = int(time.time() * 1000)
        toot = self._live.toot(home, now - int(seconds_ago * 1000))
        self.live_toots.append(toot)
        status_id = self.plan.ids[observer].backdated(toot.created_at)
        toot.published = self.by_domain[observer].publish(toot, status_id, now)
        return toot

    def _copy_now(self, toot: Toot, observer: str) -> None:
        at = int(time.time() * 1000)
        self._apply(PlannedEvent(at, "federate", toot, observer, self.plan.ids[observer].at(at)))

    def _apply(self, event: PlannedEvent) -> None:
        toot = event.toot
        if event.kind == "publish":
            observer = self.by_domain[event.observer]
            toot.published = observer.publish(toot, event.status_id, event.at)
        elif event.kind == "federate" and not toot.deleted:
            self.by_domain[event.observer].publish(toot, event.status_id, event.at)
        elif event.kind == "edit" and event.body is not None and not toot.deleted:
            edit(toot, event.body, event.at, self.by_domain)
        elif event.kind == "delete":
            delete(toot, self.by_domain)


def token_variable(server: SimulatedServer) -> str:
    """Return the pipeline's variable for this server's token (see `servers.parse_server`)."""
    return "MASTODON_TOKEN_" + re.sub(r"[^A-Z0-9]", "_", f"{server.host}:{server.port}".upper())


def environment(servers: Sequence[SimulatedServer]) -> dict[str, str]:
    """Return the pipeline's settings to listen to these servers, including tokens."""
    settings = {
        "MASTODON_SERVERS": ",".join(server.base_url for server in servers),
        "MASTODON_ALLOW_PRIVATE_ADDRESSES": "true",
    }
    return settings | {
        token_variable(s): s.tokens.user for s in servers if s.tokens.user is not None
    }
