"""The ports that a simulated Fediverse is reached at, always on loopback."""

import asyncio
import ssl

from aiohttp import web

HOST = "127.0.0.1"


class PortInUseError(Exception):
    """A port is taken; the message names it and says what to do."""


class Door:
    """One application on one port; it can be shut and opened again, as a restart does it."""

    def __init__(self, app: web.Application, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self._tls = tls
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=0.2,
            handler_cancellation=True,  # a client that leaves is known at once
        )
        self._site: web.TCPSite | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self, port: int) -> int:
        """Opens the port (0: a free one) until `close`; which one it is.

        Raises PortInUseError.
        """
        await self._runner.setup()
        try:
            await self._listen(port)
        except OSError as error:
            raise PortInUseError(
                f"port {port} on {HOST} cannot be opened ({error.strerror}); choose another"
            ) from None
        self.port = int(self._runner.addresses[0][1])
        return self.port

    def shut(self, seconds: float) -> None:
        """Refuses connections for so many seconds and closes those that are open."""
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def close(self) -> None:
        """Closes the port and every connection, within a second."""
        if self._reopening is not None:
            self._reopening.cancel()
        transports = self._transports()
        await self._runner.cleanup()
        _abort(transports)  # what a client never reads would keep its connection open
        await asyncio.sleep(0)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it is open."""
        return [(str(host), int(port)) for host, port in self._runner.addresses]

    def _transports(self) -> list[asyncio.Transport]:
        server = self._runner.server
        connections = server.connections if server is not None else []
        return [one.transport for one in connections if one.transport is not None]

    async def _listen(self, port: int) -> None:
        self._site = web.TCPSite(self._runner, HOST, port, ssl_context=self._tls, backlog=1024)
        await self._site.start()

    async def _reopen(self, seconds: float) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None
        await asyncio.sleep(min(0.05, seconds))  # streams that end in good order have ended
        _abort(self._transports())
        await asyncio.sleep(max(0.0, seconds - 0.05))
        await self._listen(self.port)


def _abort(transports: list[asyncio.Transport]) -> None:
    for transport in transports:
        transport.abort()
