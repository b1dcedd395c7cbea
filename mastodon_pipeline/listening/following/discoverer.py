"""Discovery for the event loop: Mastodon.py asks in threads, and nothing of it is kept.

Mastodon.py casts every field of the answer, 3 ms of CPU a server; so answers are remembered (also
across restarts, beside the positions) and asked anew about once an hour, after a refusal, and soon
after a start.
"""

import asyncio
import math
import random
import time
from dataclasses import dataclass, field

from mastodon_pipeline.errors import Refused, Unreachable
from mastodon_pipeline.listening.client.addresses import in_daemon_thread
from mastodon_pipeline.listening.client.patience import PATIENT, Patience
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.client.session import ServerSession
from mastodon_pipeline.listening.following.discovery import (
    TOKEN_REFUSALS,
    Discovered,
    discover,
    mastodon_client,
)
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

_SOON_SECONDS = 60.0
_AT_ONCE = 48


@dataclass(frozen=True, slots=True)
class Discovery:
    """A server's account of itself, and how it took our token."""

    found: Discovered
    token: str | None = field(repr=False)
    token_refusal: Refused | None = None
    """Set where the server answered to the token with an error, and without it well."""
    asked_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds."""
    until: float = math.inf
    """Monotonic seconds; from then on the server is to be asked again."""


class Discoverer:
    """Asks servers who they are, so many at once; never two of a host at the same time."""

    def __init__(
        self, settings: Settings, budgets: RateBudgets, patience: Patience = PATIENT
    ) -> None:
        self._patience = patience
        self._settings = settings
        self._budgets = budgets
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def ask(self, server: Server, token: str | None) -> Discovery:
        """What the server says now, to this token or to anybody.

        Raises Refused, Unreachable, UnsafeAddress, CrossHostRedirect.
        """
        async with self._at_once:
            try:
                # Its own timeouts are for single reads, which a byte now and then keeps alive.
                async with asyncio.timeout(3 * self._patience.request_seconds):
                    found, refusal = await in_daemon_thread(lambda: self._ask(server, token))
            except TimeoutError:
                raise Unreachable("it did not answer in time") from None
            except Refused as refused:
                if refused.status == 429:
                    self._budgets.of(server.base_url).observe(429, refused.headers)
                raise
        believed = self._patience.rediscover_seconds * random.uniform(0.75, 1.0)
        return Discovery(found, token, refusal, until=time.monotonic() + believed)

    def remembered(self, token: str | None, found: Discovered) -> Discovery:
        """What an earlier listener was told: good for connecting, to be asked again soon."""
        soon = time.monotonic() + random.uniform(0.1, 1.0) * _SOON_SECONDS
        return Discovery(found, token, asked_at=-math.inf, until=soon)

    def _ask(self, server: Server, token: str | None) -> tuple[Discovered, Refused | None]:
        timeout = self._patience.request_seconds
        with ServerSession(
            self._settings.user_agent, self._settings.mastodon_allow_private_addresses
        ) as session:
            try:
                return discover(server, mastodon_client(server, token, session, timeout)), None
            except Refused as refused:
                if token is None or refused.status not in TOKEN_REFUSALS:
                    raise
                client = mastodon_client(server, None, session, timeout)
                return discover(server, client), Refused(refused.status, refused.reason)
