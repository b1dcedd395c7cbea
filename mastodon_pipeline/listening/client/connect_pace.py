"""How fast connections are opened, whoever wants them: no herd runs when a thousand are cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CONNECTS_A_SECOND = 300.0
"""A thousand streams are back, or connected at first, in three seconds and a bit."""
_AT_ONCE = 100
"""Connections being opened at the same moment: each may be a name to resolve and TLS to greet."""


class ConnectPace:
    """Lets connections begin evenly, `a_second` of them at most; for one event loop."""

    def __init__(self, a_second: float = CONNECTS_A_SECOND) -> None:
        self._apart = 1.0 / a_second
        self._next = 0.0
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for its turn; the connection is opened in the body."""
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now)
        self._next = mine + self._apart
        await asyncio.sleep(mine - now)
        async with self._at_once:
            yield
