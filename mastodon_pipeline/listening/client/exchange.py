"""One deadline for a whole exchange over `requests`, whatever the server sends, and how slowly.

The timeouts of `requests` are for each read: a server that sends a byte of a header now and then,
or one `100 Continue` after another, would hold a thread and a socket for ever. At the deadline a
timer shuts the sockets down, which ends the read, whichever it is: of the header, the body, the TLS
handshake, or a proxy's answer.
"""

import contextlib
import socket
import sys
import time
from contextvars import ContextVar, Token
from threading import Lock, Timer
from types import TracebackType

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from mastodon_pipeline.listening.client.addresses import check_ip

_SHORTEST_SECONDS = 0.001
"""Zero would mean that a socket does not wait."""


class Peer:
    """One session's connections with one server. Each exchange is a `with` block around it.

    Made and used in one thread. An exchange that fails closes the connections.
    """

    def __init__(self, check_addresses: bool) -> None:
        self.check_addresses = check_addresses
        self.timed_out = False
        """Whether the last exchange took too long."""
        self._sockets: list[socket.socket] = []
        """Duplicates, since TLS takes the file descriptor from the socket that was connected."""
        self._lock = Lock()
        self._deadline = 0.0
        self._timer: Timer | None = None
        self._token: Token[Peer | None] | None = None

    def exchange(self, seconds: float) -> "Peer":
        """Set how long the exchange in the `with` block may take."""
        self._deadline = time.monotonic() + seconds
        return self

    def __enter__(self) -> "Peer":
        timer = Timer(self.seconds_left(), lambda: self._time_out(timer))
        timer.daemon = True
        with self._lock:
            self._timer, self.timed_out = timer, False
        self._token = _current.set(self)
        timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._token is not None:
            _current.reset(self._token)
        if error is not None:
            self.close()

    def seconds_left(self) -> float:
        """Return the seconds until the deadline; a millisecond after it."""
        return max(_SHORTEST_SECONDS, self._deadline - time.monotonic())

    def hold(self, connecting: socket.socket) -> None:
        """Shut this socket down, too, at the deadline. Raises TimeoutError if it has passed."""
        with self._lock:
            if self.timed_out:
                raise TimeoutError("timed out")
            self._sockets.append(connecting.dup())

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._shut_down()
            for held in self._sockets:
                held.close()
            self._sockets.clear()

    def _time_out(self, timer: Timer) -> None:
        with self._lock:
            if self._timer is timer:  # The exchange has not ended in this very moment.
                self.timed_out = True
                self._shut_down()

    def _shut_down(self) -> None:
        for held in self._sockets:
            with contextlib.suppress(OSError):  # It is closed, or was never connected.
                held.shutdown(socket.SHUT_RDWR)


_current: ContextVar[Peer | None] = ContextVar("peer", default=None)


def _connect(connection: HTTPConnection) -> socket.socket:
    """Connect to the connection's host, at one of the very addresses that were checked.

    Raises UnsafeAddress if one of them is not public, and urllib3's errors.
    """
    peer = _current.get()
    assert peer is not None, "only an exchange makes connections"
    try:
        infos = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise NameResolutionError(connection.host, connection, socket.gaierror(error)) from error
    if peer.check_addresses and connection.proxy is None:
        for *_, address in infos:
            check_ip(connection.host, str(address[0]))
    failure: OSError = socket.gaierror("the name has no address")
    for family, kind, protocol, _, address in infos:
        connecting = socket.socket(family, kind, protocol)
        try:
            peer.hold(connecting)
            # Each address in turn, but all of them together not beyond the deadline.
            connecting.settimeout(
                min(connection.timeout or peer.seconds_left(), peer.seconds_left())
            )
            for option in connection.socket_options or ():
                connecting.setsockopt(*option)
            connecting.connect(address)
        except OSError as error:
            connecting.close()
            failure = error
            continue
        connecting.settimeout(connection.timeout)
        sys.audit("http.client.connect", connection, connection.host, connection.port)
        return connecting
    if isinstance(failure, TimeoutError):
        raise ConnectTimeoutError(connection, "timed out") from failure
    raise NewConnectionError(connection, f"no connection: {failure}") from failure


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _Pool, "https": _TlsPool}
"""urllib3's pools by scheme; their connections belong to the exchange that makes them."""
