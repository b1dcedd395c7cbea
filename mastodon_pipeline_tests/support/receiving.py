"""Servers on loopback that receive alerts: a webhook over HTTP, and mail over SMTP."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mastodon_pipeline_tests.support.serving import serving


class Webhook:
    """What an HTTP server was sent, and how it answers."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.status = 200
        """Its answer from now on; anything but 2xx refuses the message."""
        self.silent = threading.Event()
        """Set: it accepts connections, and never answers."""
        self.messages: list[dict[str, Any]] = []
        """The accepted messages, as Apprise's `json://` sends them."""
        self.refused = 0
        self.paths: list[str] = []

    @property
    def titles(self) -> list[str]:
        """The titles of the accepted messages, without the product's name."""
        return [m["title"].removeprefix("mastodon_pipeline: ") for m in self.messages]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Run a webhook on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.silent.is_set():
                stopped.wait()
                return
            receiver.paths.append(self.path)
            if receiver.status < 300:
                receiver.messages.append(json.loads(body))
            else:
                receiver.refused += 1
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Webhook(server.server_port)
    with serving(server):
        try:
            yield receiver
        finally:
            stopped.set()


@contextmanager
def mailbox() -> Iterator[tuple[str, list[EmailMessage]]]:
    """Run an SMTP server on a free port; yield its address and the mails that it received."""
    mails: list[EmailMessage] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 mail.example\r\n")
            while line := self.rfile.readline():
                command = line[:4].upper().strip()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    text = b"".join(line.removeprefix(b".") for line in lines)
                    mail = message_from_bytes(text, policy=policy.default)
                    assert isinstance(mail, EmailMessage)
                    mails.append(mail)
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
                if command == b"QUIT":
                    return

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"127.0.0.1:{server.server_address[1]}", mails
