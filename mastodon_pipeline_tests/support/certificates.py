"""A certificate authority of a test, and servers with its certificates, good and bad."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mastodon_pipeline_tests.support.serving import serving

Fault = Literal["expired", "not yet valid", "misnamed", "none"]


class Authority:
    """A private authority in a directory: `ca.pem`, and the certificates that it issues."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self.file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate in PEM."""
        return self._ca.cert_pem.bytes()

    def issue(self, name: str, fault: Fault = "none") -> tuple[Path, Path]:
        """Issue a certificate for 127.0.0.1 and localhost; return the files of chain and key."""
        now = datetime.now(UTC)
        names = ("elsewhere.example",) if fault == "misnamed" else ("127.0.0.1", "localhost")
        begin = now + timedelta(days=1) if fault == "not yet valid" else now - timedelta(days=9)
        end = now - timedelta(days=1) if fault == "expired" else now + timedelta(days=9)
        issued = self._ca.issue_cert(*names, not_before=begin, not_after=end)
        chain, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        chain.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        private = load_pem_private_key(issued.private_key_pem.bytes(), None)
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return chain, key


@contextmanager
def https_server(chain: Path, key: Path, status: int = 200) -> Iterator[int]:
    """Answer every request with this status and `[]`, over TLS; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        do_HEAD = do_PUT = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[ssl.SSLSocket, object]:
            connection, address = self.socket.accept()
            connection.settimeout(10)
            # The handshake is made in the request's thread, where it may fail.
            return context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ), address

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    with serving(server):
        yield server.server_port
