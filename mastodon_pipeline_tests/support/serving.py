"""Servers of the standard library in a thread, for the time of a test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Answer requests in a thread until the end of the block, and close the server."""
    # By default a server notices only every half second that it is to stop.
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    with server:
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
