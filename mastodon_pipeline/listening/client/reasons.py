"""Why a server could not be reached, in one line: the cause inside the HTTP library's wrappings.

Both libraries': requests with urllib3, which Mastodon.py uses, and aiohttp.
"""

import socket
import ssl
from http.client import RemoteDisconnected

from aiohttp import ClientPayloadError, ServerDisconnectedError
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

_LONGEST = 200


def network_reason(error: BaseException) -> str:
    """What went wrong on the way: DNS, TCP, TLS, a timeout; else the error's own words, cut."""
    for cause in _causes(error):
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return "its name is not known (DNS)"
        if isinstance(cause, NewConnectionError):
            continue  # To urllib3 a timeout; the socket's own error is inside.
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or cause}"
        if isinstance(cause, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
            return "it did not answer in time"
        if isinstance(cause, ConnectionRefusedError):
            return "it refuses connections"
        if isinstance(cause, ConnectionResetError | RemoteDisconnected | ServerDisconnectedError):
            return "it hung up"
        if isinstance(cause, ClientPayloadError):
            return "it hung up in the middle"
    return " ".join(str(error).split())[:_LONGEST]


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one in found:
            continue
        found.append(one)
        # requests puts urllib3's error into its args, as aiohttp does the system's; urllib3 puts
        # the socket's into `reason`.
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        waiting += [e for e in inner if isinstance(e, BaseException)]
    return found
