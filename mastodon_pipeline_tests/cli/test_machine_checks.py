"""What `doctor` says about the machine."""

import resource
import shutil
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mastodon_pipeline.cli.machine_checks import (
    Unhealthy,
    check_clock,
    check_disk,
    check_limits,
    check_memory,
    check_proxy,
)
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.serving import serving

HOUR = 3600.0


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A server whose clock is ahead by the test's parameter, in seconds; None: it says no time."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(200)
            if request.param is not None:
                self.send_header("Date", formatdate(time.time() + request.param, usegmt=True))
            self.end_headers()

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(http):
        url = f"http://127.0.0.1:{http.server_port}"
        yield Settings(mastodon_servers=(url,), mastodon_allow_private_addresses=True)


@pytest.mark.parametrize("server", [8 * HOUR, -8 * HOUR], indirect=True)
def test_clock_is_compared_with_a_server(server: Settings) -> None:
    with pytest.raises(Unhealthy, match=r"480 min (ahead of|behind) .*timedatectl"):
        check_clock(server)


@pytest.mark.parametrize("server", [0.0, 30.0], indirect=True)
def test_clock_that_is_nearly_right_is_healthy(server: Settings) -> None:
    assert check_clock(server).startswith("within 120 s of 127.0.0.1")


@pytest.mark.parametrize("server", [None], indirect=True)
def test_clock_is_not_compared_with_a_server_that_says_no_time(server: Settings) -> None:
    assert check_clock(server).startswith("not compared")


def test_full_disk_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "GB free in /" in check_disk(Settings())
    usage = shutil.disk_usage("/")._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Unhealthy, match=r"0\.1 GB free .*MASTODON_PIPELINE_DATA"):
        check_disk(Settings())


def test_too_few_open_files_are_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 201))
    servers = ("a.example", "b.example")
    with pytest.raises(Unhealthy, match=r"201 files, and 202 are needed: .*LISTENER_GROUPS"):
        check_limits(Settings(mastodon_servers=servers))
    assert "201" in check_limits(Settings(mastodon_servers=servers[:1]))


def test_memory_and_proxy_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_memory(Settings())
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    line = "HTTPS_PROXY=http://***@proxy.example:3128; not used for 127.0.0.1"
    assert line in check_proxy(Settings())
