"""A simulated Mastodon server: its state, and the events of toots on it.

Its HTTP API is in `routes`.
"""

import asyncio
import secrets
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.simulator.content import Author, Body, Toot
from infra.simulator.faults import MALFORMED, Endpoint, Faults, odd_status
from infra.simulator.frames import Frame
from infra.simulator.instance import ServerPolicy
from infra.simulator.limits import Throttles
from infra.simulator.ports import LOOPBACK, ServerPort
from infra.simulator.streams import Streams
from infra.simulator.timeline import Timeline
from infra.simulator.weather import CALM, Delays

STREAMED_AGE_MS = 6 * 3_600_000
"""Remote toots older than this are listed but not streamed, as in Mastodon."""


@dataclass(slots=True)
class Tokens:
    """The valid tokens of a server."""

    user: str | None
    """A user's token with `read:statuses`, or None if there is no user."""
    apps: set[str] = field(default_factory=set)
    """Application tokens: without a user, so they open neither streams nor closed feeds."""
    login_code: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """The code that a user would copy from the page that asks for consent."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as the server received it, whether it was answered or not."""

    at: float
    """`time.monotonic()`."""
    endpoint: Endpoint
    path: str
    """Including the query."""
    host: str
    user_agent: str
    token: bool
    """Whether it had a token."""


class SimulatedServer:
    """The state of a server; all methods are called in the event loop that serves it."""

    def __init__(self, policy: ServerPolicy, people: Sequence[Author], token: str | None) -> None:
        self.policy = policy
        self.domain = policy.domain
        self.dialect = policy.dialect
        self.people = people
        self.host = LOOPBACK
        """The name or address by which it is reached."""
        self.port = 0
        self.streaming_port = 0
        """Differs from `port` if streaming has a separate address."""
        self.ports: list[ServerPort] = []
        self.tokens = Tokens(token if policy.token else None)
        self.timeline = Timeline(policy.domain, policy.dialect)
        self.streams = Streams()
        self.throttles = Throttles(policy.limits)
        self.faults = Faults()
        self.listened = asyncio.Event()
        """Set once a client listens: it opened a stream, or polled without a token.

        A poll with a token does not count: that client is about to open a stream.
        """
        self.served: Counter[str] = Counter()
        """How often streams were opened, the timeline polled, and events sent."""
        self.requests: deque[RequestRecord] = deque(maxlen=100_000)
        """The latest requests, including refused and faulty ones, to see how polite a client is."""
        self.delays = Delays(CALM, policy.domain)
        self._unlisted: dict[int, asyncio.TimerHandle] = {}
        """Rows that have an id, and are listed later."""
        self.created: list[int] = []
        """When each status by a local author was created (UTC ms), including hidden ones."""
        self.clock_seconds = 0.0
        """How far its clock is ahead; behind if negative."""
        self._odd = 0

    @property
    def base_url(self) -> str:
        """Its base URL."""
        return f"{'https' if self.policy.tls else 'http'}://{self.host}:{self.port}"

    @property
    def streaming_url(self) -> str:
        """The base URL of its streams, with http(s) as scheme."""
        return self.base_url.replace(f":{self.port}", f":{self.streaming_port or self.port}")

    def restart(self, seconds: float) -> None:
        """Close every stream, and refuse connections for `seconds`."""
        self.streams.end()
        for port in self.ports:
            port.restart(seconds)

    def asked(self, endpoint: Endpoint | None = None, since: float = 0.0) -> int:
        """Count the requests, for one endpoint or the whole API, since `since`.

        `since`: seconds of `time.monotonic()`. robots.txt is no part of the API.
        """
        return sum(
            r.at >= since and (endpoint == r.endpoint if endpoint else r.endpoint != "robots")
            for r in self.requests
        )

    def publish(self, toot: Toot, status_id: int, at: int) -> bool:
        """List and stream a toot, or its copy, at `at` (UTC ms) by the plan's clock.

        Returns False, and does neither, for a toot that is in no public feed. Both may be late: see
        `weather`.
        """
        local = toot.server == self.domain
        if local:
            self.created.append(toot.created_at)
        if not toot.in_public_feeds:
            return False
        toot.listed[self.domain] = status_id
        streamed = local or at - toot.created_at <= STREAMED_AGE_MS
        delay = self.delays.of_listing() if self.policy.software == "gotosocial" else 0.0
        if delay:
            self._unlisted[status_id] = asyncio.get_running_loop().call_later(
                delay, self._list, status_id, toot, streamed
            )
        else:
            self._list(status_id, toot, streamed)
        return True

    def stream_edit(self, toot: Toot) -> None:
        """Stream an edited toot if this server lists it."""
        status_id = toot.listed.get(self.domain)
        if status_id is not None and status_id not in self._unlisted:
            self._stream("status.update", self.timeline.status(status_id), toot)

    def delete(self, toot: Toot) -> None:
        """Remove a toot, and stream its delete: nothing but this server's id of it."""
        status_id = toot.listed.get(self.domain)
        if status_id is None:
            return
        if late := self._unlisted.get(status_id):
            late.cancel()
            self._list(status_id, toot, streamed=True)
        if self.timeline.remove(status_id):
            self._stream("delete", self.dialect.id_text(status_id).encode(), toot)

    def inject(self, name: str) -> str | None:
        """Send a malformed or irregular `update` to every stream; return its uri if it has one.

        Raises KeyError for a name that is neither in `MALFORMED` nor in `ODD`.
        """
        if name in MALFORMED:
            self.streams.send_to_all(Frame("update", MALFORMED[name]))
            return None
        self._odd += 1
        uri, payload = odd_status(name, self.domain, int(time.time() * 1000) << 16 | self._odd)
        self.streams.send_to_all(Frame("update", payload))
        return uri

    def _list(self, status_id: int, toot: Toot, streamed: bool) -> None:
        self._unlisted.pop(status_id, None)
        self.timeline.add(status_id, toot)
        if streamed:
            self._stream("update", self.timeline.status(status_id), toot)

    def _stream(self, event: str, payload: bytes, toot: Toot) -> None:
        local = toot.server == self.domain
        if self.policy.chosen_languages and toot.language not in self.policy.chosen_languages:
            return  # Only its user streams.
        if (self.policy.local_feed if local else self.policy.remote_feed) == "disabled":
            return
        frame, media = Frame(event, payload), toot.media > 0
        if delay := self.delays.of_event():
            asyncio.get_running_loop().call_later(delay, self._send, frame, local, media)
        else:
            self._send(frame, local, media)

    def _send(self, frame: Frame, local: bool, media: bool) -> None:
        if len(self.streams):
            self.served["events"] += self.streams.send(frame, local, media)


def edit(toot: Toot, body: Body, at: int, servers: dict[str, SimulatedServer]) -> None:
    """Edit a toot at `at` (UTC ms), and stream it on every server that lists it."""
    toot.edit(body, at)
    for domain in toot.listed:
        servers[domain].stream_edit(toot)


def delete(toot: Toot, servers: dict[str, SimulatedServer]) -> None:
    """Delete a toot, and stream that on every server that lists it."""
    toot.deleted = True
    for domain in toot.listed:
        servers[domain].delete(toot)
