"""Why a server could not be reached, in one line: the root cause of an HTTP client's exception.

Covers requests with urllib3, which Mastodon.py uses, and aiohttp.
"""

import socket
import ssl
from http.client import RemoteDisconnected

from aiohttp import ClientPayloadError, ClientSSLError, ServerDisconnectedError
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from mastodon_pipeline.errors import without_credentials
from mastodon_pipeline.foreign_text import clean_line

_MAX_CHARACTERS = 4000
"""Of an error's message that are looked at."""


def network_reason(error: BaseException) -> str:
    """Name what failed: DNS, TCP, TLS, a timeout; otherwise the error's message, cut short."""
    return clean_line(_reason(error))


def _reason(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return "DNS: its name cannot be resolved"
        if isinstance(cause, NewConnectionError):
            continue  # A subclass of its timeout error; the socket's error is inside.
        if isinstance(cause, ClientSSLError):
            continue  # OpenSSL's error is inside; aiohttp's has its class, but not its attributes.
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: its certificate is not valid: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or cause}"
        if isinstance(cause, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
            return "timed out"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if isinstance(cause, ConnectionResetError | RemoteDisconnected | ServerDisconnectedError):
            return "connection reset"
        if isinstance(cause, ClientPayloadError):
            return "connection lost in the middle of a response"
    return without_credentials(str(error)[:_MAX_CHARACTERS])


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    queue = [error]
    while queue:
        cause = queue.pop(0)
        if cause in causes:
            continue
        causes.append(cause)
        # requests keeps urllib3's error in its args, as aiohttp does the OS error; urllib3 keeps
        # the socket's in `reason`.
        inner = [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
        queue += [e for e in inner if isinstance(e, BaseException)]
    return causes
