"""The simulated Fediverse in a separate thread, for tests without asyncio."""

import asyncio
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from infra.simulator.control import control_application, inject_fault
from infra.simulator.faults import Endpoint
from infra.simulator.fediverse import Fediverse, Options, environment
from infra.simulator.server import SimulatedServer
from infra.simulator.truth import ServerHour, TrueToot, toots_per_server_per_hour

T = TypeVar("T")


class Simulator:
    """A running Fediverse, as a context manager that closes ports and thread at its end.

    Every method may be called from any thread.
    """

    def __init__(self, options: Options | None = None, control_port: int | None = None) -> None:
        self._options = options or Options()
        self._control_port = control_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulator")
        self._fediverse: Fediverse | None = None
        self.control_url = ""
        """The base URL of the control API, or '' without `control_port` (0: a free one)."""

    def __enter__(self) -> "Simulator":
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(30)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def fediverse(self) -> Fediverse:
        """The Fediverse; use it in its event loop only (see `call`)."""
        assert self._fediverse is not None, "use the simulator as a context manager"
        return self._fediverse

    @property
    def servers(self) -> list[SimulatedServer]:
        """The servers in order; `base_url`, `domain` and `tokens` may be read in any thread."""
        return self.fediverse.servers

    @property
    def environment(self) -> dict[str, str]:
        """The pipeline's settings to listen to these servers, including tokens."""
        return environment(self.servers)

    def start_publishing(self) -> None:
        """Start publishing without waiting for listeners."""
        self.call(self.fediverse.started.set)

    def publish(self, server: int | str = 0) -> str:
        """Publish a toot now; return its uri."""
        domain = self.server(server).domain
        return self.call(lambda: self.fediverse.publish_now(domain)).uri

    def fetch_late(self, observer: int | str, home: int | str, seconds_ago: float) -> str:
        """Let a server fetch another's toot under a backdated id; return its uri."""
        domains = self.server(observer).domain, self.server(home).domain
        return self.call(lambda: self.fediverse.fetch_late(*domains, seconds_ago)).uri

    def asked(self, endpoint: Endpoint | None = None, server: int | str = 0) -> int:
        """Count the requests that a server received, for one endpoint or the whole API."""
        chosen = self.server(server)
        return self.call(lambda: chosen.asked(endpoint))

    def wait_until_done(self, seconds: float = 900.0) -> None:
        """Wait until the whole plan is published; raises TimeoutError, with the status, if late."""
        self.wait_until(self.fediverse.done.is_set, seconds)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 900.0) -> None:
        """Wait until the condition, called in the simulator's event loop, holds.

        Raises TimeoutError, with the status, after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not self.call(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s: {self.status()}")
            time.sleep(0.02)

    def status(self) -> dict[str, Any]:
        """Return the progress of publication, and listeners by server."""
        return self.call(self.fediverse.status)

    def truth(self) -> list[TrueToot]:
        """List every public toot published so far."""
        return self.call(self.fediverse.truth)

    def toots_per_server_per_hour(self) -> list[ServerHour]:
        """Count the published toots."""
        return toots_per_server_per_hour(self.truth())

    def fault(self, kind: str, server: int | str = 0, **details: Any) -> Any:
        """Inject a fault at a server; kinds and details are those of `control.inject_fault`."""
        chosen = self.server(server)
        return self.call(lambda: inject_fault(chosen, kind, **details))

    def server(self, which: int | str) -> SimulatedServer:
        """Return a server by its position or domain."""
        if isinstance(which, int):
            return self.servers[which]
        return self.fediverse.by_domain[which]

    def call(self, function: Callable[[], T]) -> T:
        """Call the function in the simulator's event loop."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(30)

    async def _open(self) -> None:
        self._fediverse = Fediverse(self._options)
        await self._fediverse.open()
        if self._control_port is not None:
            app = control_application(self._fediverse)
            port = await self._fediverse.serve(app, self._control_port)
            self.control_url = f"http://127.0.0.1:{port}"

    async def _close(self, fediverse: Fediverse) -> None:
        await fediverse.close()
        # A TLS handshake that a client gave up is a task of asyncio, but not yet a connection.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _stop(self) -> None:
        if self._fediverse is not None:
            asyncio.run_coroutine_threadsafe(self._close(self._fediverse), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
