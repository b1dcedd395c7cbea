"""The ports of a simulated Fediverse: on loopback, unless another host is named."""

import asyncio
import ssl

from aiohttp import web

LOOPBACK, ANY_ADDRESS = "127.0.0.1", "0.0.0.0"


class PortInUseError(Exception):
    """A port is in use; the message names it and says what to do."""


class ServerPort:
    """An application on a port, which can be closed and opened again like in a restart."""

    def __init__(
        self, app: web.Application, tls: ssl.SSLContext | None = None, host: str = LOOPBACK
    ) -> None:
        self.port = 0
        self._address = LOOPBACK if host == LOOPBACK else ANY_ADDRESS
        self._tls = tls
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=0.2,
            handler_cancellation=True,  # notice at once that a client has left
        )
        self._site: web.TCPSite | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self, port: int) -> int:
        """Open the port (0: a free one) until `close`, and return it; raises PortInUseError."""
        await self._runner.setup()
        try:
            await self._listen(port)
        except OSError as error:
            raise PortInUseError(
                f"port {port} on {self._address} cannot be opened ({error.strerror}); "
                "choose another"
            ) from None
        self.port = int(self._runner.addresses[0][1])
        return self.port

    def restart(self, seconds: float) -> None:
        """Close open connections, and refuse new ones for `seconds`."""
        self._reopening = asyncio.create_task(self._reopen(seconds))

    async def close(self) -> None:
        """Close the port and every connection, within a second."""
        if self._reopening is not None:
            self._reopening.cancel()
        transports = self._transports()
        await self._runner.cleanup()
        _abort(transports)  # a client that does not read would keep its connection open
        await asyncio.sleep(0)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses on which it is open."""
        return [(str(host), int(port)) for host, port in self._runner.addresses]

    def _transports(self) -> list[asyncio.Transport]:
        server = self._runner.server
        connections = server.connections if server is not None else []
        return [c.transport for c in connections if c.transport is not None]

    async def _listen(self, port: int) -> None:
        self._site = web.TCPSite(
            self._runner, self._address, port, ssl_context=self._tls, backlog=1024
        )
        await self._site.start()

    async def _reopen(self, seconds: float) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None
        await asyncio.sleep(min(0.05, seconds))  # let streams close properly
        _abort(self._transports())
        await asyncio.sleep(max(0.0, seconds - 0.05))
        await self._listen(self.port)


def _abort(transports: list[asyncio.Transport]) -> None:
    for transport in transports:
        transport.abort()
