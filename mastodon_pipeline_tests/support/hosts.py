"""Hosts of a network on one machine: each has its own network namespace, and its own clock.

Nothing is in a host's network but its loopback. At the ports of services there, connections are
accepted by a relay outside, which carries them to the same port of the machine. A cut network is a
relay that carries nothing more: as with a cable that is pulled, connections stay open and silent.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

LOOPBACK = "127.0.0.1"
_LISTEN = """
import socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
ports = [int(port) for port in sys.argv[2:]]
listeners = [socket.create_server(("127.0.0.1", port)) for port in ports]
with socket.socket(socket.AF_UNIX) as relay:
    relay.connect(sys.argv[1])
    socket.send_fds(relay, [b"ports"], [listener.fileno() for listener in listeners])
    relay.recv(1)  # until the relay ends
"""
_CHUNK = 65_536
_STREAM_REQUEST = b"GET /api/v1/streaming"


class Host:
    """A host; `ports` are those of the machine's services that it reaches. A context manager."""

    def __init__(self, name: str, directory: Path, ports: Sequence[int], clock: float) -> None:
        """`clock`: seconds by which its clock is ahead."""
        self.name = name
        self._ports = tuple(ports)
        self._clock = clock
        self._meeting = directory / f"{name}.sock"
        self._ends = contextlib.ExitStack()
        self._loop = asyncio.new_event_loop()
        self._connected = {port: asyncio.Event() for port in ports}
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.StreamReader] = set()
        self._anchor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with socket.socket(socket.AF_UNIX) as meeting:
            meeting.bind(str(self._meeting))
            meeting.listen(1)
            command = [sys.executable, "-c", _LISTEN, str(self._meeting), *map(str, self._ports)]
            self._anchor = subprocess.Popen(["unshare", "--net", *command])
            self._ends.callback(self._anchor.wait)
            meeting.settimeout(300)
            anchored, _ = meeting.accept()
        self._ends.enter_context(anchored)
        anchored.settimeout(300)
        _, files, _, _ = socket.recv_fds(anchored, 16, len(self._ports))
        listeners = [socket.socket(fileno=file) for file in files]
        thread = threading.Thread(target=self._loop.run_forever, name=f"relay of {self.name}")
        thread.start()
        self._ends.callback(thread.join)
        self._ends.callback(self._loop.call_soon_threadsafe, self._loop.stop)
        asyncio.run_coroutine_threadsafe(self._open(listeners), self._loop).result(60)
        self._ends.callback(
            lambda: asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ends.close()
        self._loop.close()

    def run(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Python module on the host; it is killed when the host ends."""
        assert self._anchor is not None
        process = subprocess.Popen(
            [
                *("nsenter", f"--net=/proc/{self._anchor.pid}/ns/net"),
                *(sys.executable, "-m", "mastodon_pipeline_tests.support.host_clock"),
                *(str(self._clock), *arguments),
            ]
        )
        self._ends.callback(process.wait)
        self._ends.callback(process.kill)
        return process

    def cut(self, *ports: int) -> None:
        """Let nothing through to these ports, or to any."""
        for port in ports or self._ports:
            self._loop.call_soon_threadsafe(self._connected[port].clear)

    def heal(self) -> None:
        """Let everything through again, with what has been held back."""
        for port in self._ports:
            self._loop.call_soon_threadsafe(self._connected[port].set)

    @property
    def open_streams(self) -> int:
        """How many streams its processes have open, whether or not anything gets through."""
        return len(self._streams)

    async def _open(self, listeners: Sequence[socket.socket]) -> None:
        for port, listener in zip(self._ports, listeners, strict=True):
            self._connected[port].set()
            self._servers.append(
                await asyncio.start_server(partial(self._accept, port), sock=listener)
            )

    def _accept(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._writers.add(writer)
        self._start(self._carry(port, reader, writer))

    async def _carry(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connected = self._connected[port]
        await connected.wait()
        try:
            from_service, to_service = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            writer.close()
            return
        self._writers.add(to_service)
        self._start(_pump(reader, to_service, connected, self._streams))
        self._start(_pump(from_service, writer, connected, set()))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # so that they are closed


async def _pump(
    source: asyncio.StreamReader,
    target: asyncio.StreamWriter,
    connected: asyncio.Event,
    streams: set[asyncio.StreamReader],
) -> None:
    """Carry bytes until the source ends; `streams` has those sources that ask for a stream."""
    try:
        while chunk := await source.read(_CHUNK):
            if chunk.startswith(_STREAM_REQUEST):
                streams.add(source)
            await connected.wait()
            target.write(chunk)
            await target.drain()
    except OSError:
        pass
    finally:
        streams.discard(source)
    await connected.wait()
    target.close()


@contextlib.contextmanager
def three_hosts(directory: Path, ports: Sequence[int]) -> Iterator[list[Host]]:
    """Run three hosts, whose clocks differ by a minute from each other and from the machine's."""
    if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("network namespaces need root, unshare, nsenter and ip")
    with contextlib.ExitStack() as ends:
        yield [
            ends.enter_context(Host(f"host-{number}", directory, ports, clock))
            for number, clock in enumerate((-60.0, 60.0, 120.0), 1)
        ]
