"""A proxy before MinIO that passes everything on, refuses with 503, or is slow."""

import asyncio
import contextlib
import threading
from typing import Literal

Mode = Literal["pass", "refuse", "slow"]

_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(_SLOW_DOWN)
) + _SLOW_DOWN
_CHUNK_BYTES = 65536
_SLOW_SECONDS = 0.5
"""Before each chunk, in both directions."""


class StoreProxy:
    """Relays connections to a port of this machine, in a thread; a context manager."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store proxy")
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> "StoreProxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(300)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(300)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set_mode(self, mode: Mode) -> None:
        """Change what happens to requests; refusing ends the open connections."""

        def change() -> None:
            self._mode = mode
            if mode == "refuse":
                for writer in self._writers:
                    writer.close()

        self._loop.call_soon_threadsafe(change)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # sockets are closed in the loop's next round

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                if self._mode == "refuse":
                    await reader.readuntil(b"\r\n\r\n")
                    writer.write(_REFUSAL)
                    await writer.drain()
                else:
                    await self._relay(reader, writer)
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            there = asyncio.create_task(self._copy(reader, store_writer))
            back = asyncio.create_task(self._copy(store_reader, writer))
            _, pending = await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            store_writer.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while chunk := await source.read(_CHUNK_BYTES):
            if self._mode == "slow":
                await asyncio.sleep(_SLOW_SECONDS)
            target.write(chunk)
            await target.drain()
