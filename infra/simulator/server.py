"""One simulated Mastodon server: its state, and what happens to it.

How it answers over HTTP is in `routes`.
"""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.simulator.content import Author, Body, Toot
from infra.simulator.doors import HOST, Door
from infra.simulator.faults import MALFORMED, Endpoint, Faults, odd_status
from infra.simulator.frames import Frame
from infra.simulator.instance import ServerPolicy
from infra.simulator.limits import Throttles
from infra.simulator.streams import Streams
from infra.simulator.timeline import Timeline

STREAMED_UP_TO = 6 * 3_600_000
"""Remote toots older than this (ms) are listed but not streamed, as Mastodon does it."""


@dataclass(slots=True)
class Tokens:
    """What `/oauth/token` and the operator gave out."""

    user: str | None
    """A user's token with `read:statuses`, or None where there is no user."""
    apps: set[str] = field(default_factory=set)
    """Application tokens: no user behind them, so neither streams nor closed feeds open."""
    login_code: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """What a user would copy from the page that asks for consent."""


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """One request as the server saw it, whatever became of it."""

    at: float
    """`time.monotonic()`."""
    endpoint: Endpoint
    path: str
    """With its query."""
    host: str
    user_agent: str
    token: bool
    """A token came with it."""


class SimulatedServer:
    """State of one server; all methods are called in the event loop that serves it."""

    def __init__(self, policy: ServerPolicy, people: Sequence[Author], token: str | None) -> None:
        self.policy = policy
        self.domain = policy.domain
        self.dialect = policy.dialect
        self.people = people
        self.port = 0
        self.streaming_port = 0
        """Another one than `port` where streams are apart."""
        self.doors: list[Door] = []
        self.tokens = Tokens(token if policy.token else None)
        self.timeline = Timeline(policy.domain, policy.dialect)
        self.streams = Streams()
        self.throttles = Throttles(policy.limits)
        self.faults = Faults()
        self.listened = asyncio.Event()
        """Set once somebody listens: a stream opened, or a poll by a client without a token.

        A poll with a token does not count: its client is about to open the stream.
        """
        self.served: Counter[str] = Counter()
        """Requests answered: streams, polls, and events sent, to see who listens how."""
        self.requests: deque[SeenRequest] = deque(maxlen=100_000)
        """The latest requests, refused and faulty ones too: how polite is the listener?"""
        self.created: list[int] = []
        """When each status by this server's people was created (UTC ms), hidden ones included."""
        self._odd = 0

    @property
    def base_url(self) -> str:
        """Where it is reached, always loopback."""
        return f"{'https' if self.policy.tls else 'http'}://{HOST}:{self.port}"

    @property
    def streaming_url(self) -> str:
        """Where its streams are, as an http address."""
        return self.base_url.replace(f":{self.port}", f":{self.streaming_port or self.port}")

    def restart(self, seconds: float) -> None:
        """Ends every stream, refuses connections for so many seconds, and is back."""
        self.streams.end()
        for door in self.doors:
            door.shut(seconds)

    def asked(self, endpoint: Endpoint | None = None, since: float = 0.0) -> int:
        """How many requests came, for one endpoint or at all, since `time.monotonic()`."""
        return sum(seen.at >= since and endpoint in (None, seen.endpoint) for seen in self.requests)

    def publish(self, toot: Toot, status_id: int, at: int) -> bool:
        """The toot is published here, or a copy arrives, at `at` (UTC ms) by the plan's clock.

        False where no public feed may show it: then nobody is told.
        """
        local = toot.server == self.domain
        if local:
            self.created.append(toot.created_at)
        if not self.timeline.add(status_id, toot):
            return False
        toot.listed[self.domain] = status_id
        if local or at - toot.created_at <= STREAMED_UP_TO:
            self._stream("update", self.timeline.status(status_id), toot)
        return True

    def tell_edit(self, toot: Toot) -> None:
        """The toot was rewritten; this server tells it if it lists it."""
        if toot.listed.get(self.domain) is not None:
            self._stream("status.update", self.timeline.status(toot.listed[self.domain]), toot)

    def delete(self, toot: Toot) -> None:
        """The toot is gone; all that is told is this server's own id of it."""
        status_id = toot.listed.get(self.domain)
        if status_id is not None and self.timeline.remove(status_id):
            self._stream("delete", self.dialect.id_text(status_id).encode(), toot)

    def inject(self, name: str) -> str | None:
        """Sends a bad or odd `update` to every stream; the uri where it is a toot all the same.

        Raises KeyError for a name that is neither in `MALFORMED` nor in `ODD`.
        """
        if name in MALFORMED:
            self.streams.send_to_all(Frame("update", MALFORMED[name]))
            return None
        self._odd += 1
        uri, payload = odd_status(name, self.domain, int(time.time() * 1000) << 16 | self._odd)
        self.streams.send_to_all(Frame("update", payload))
        return uri

    def _stream(self, event: str, payload: bytes, toot: Toot) -> None:
        local = toot.server == self.domain
        if (self.policy.local_feed if local else self.policy.remote_feed) == "disabled":
            return
        if len(self.streams):
            frame = Frame(event, payload)
            self.served["events"] += self.streams.send(frame, local, media=toot.media > 0)


def edit(toot: Toot, body: Body, at: int, servers: dict[str, SimulatedServer]) -> None:
    """The author rewrites the toot at `at` (UTC ms); every server that lists it says so."""
    toot.edit(body, at)
    for domain in toot.listed:
        servers[domain].tell_edit(toot)


def delete(toot: Toot, servers: dict[str, SimulatedServer]) -> None:
    """The author deletes the toot; every server that lists it says so."""
    toot.deleted = True
    for domain in toot.listed:
        servers[domain].delete(toot)
