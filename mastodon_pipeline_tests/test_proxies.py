"""Proxies of the environment: what they are used for, and that no password is shown. Shows G20."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.native_stack.maven import maven_settings
from mastodon_pipeline.errors import (
    ConnectRefused,
    ConnectUnavailable,
    Refused,
    SettingsError,
    Unreachable,
    without_credentials,
)
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.proxies import check_proxies, normalise_proxies
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.serving import serving

OUR_CLIENTS = """
import asyncio, os, sys
from contextlib import suppress
import httpx, requests, duckdb
from dagster_graphql import DagsterGraphQLClient
from infra.native_stack.probes import http_ok
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.topic.registry import registry_client
from mastodon_pipeline.settings import Settings

url = sys.argv[1]
settings = Settings(
    s3_endpoint=url, schema_registry_url=url, kafka_connect_url=url, aws_access_key_id="a",
    aws_secret_access_key="b", mastodon_allow_private_addresses=True,
)
assert http_ok(f"{url}/requests")()
assert httpx.get(f"{url}/httpx", timeout=300).status_code == 200
with suppress(Exception):
    ConnectRest(url).status("connect-rest")
with suppress(Exception):
    registry_client(settings).get_subjects()
with suppress(Exception):
    s3_client(settings).head_bucket(Bucket="boto")
with suppress(Exception), connect_lake(settings) as lake:
    lake.execute("from read_text('s3://bucket/duckdb')")
with suppress(Exception):
    DagsterGraphQLClient("127.0.0.1", int(url.rpartition(":")[2])).get_run_status("x")

async def listen():
    async with Connections(settings) as connections:
        await connections.get(f"{url}/aiohttp", {}, None)

asyncio.run(listen())
"""
"""Each of our HTTP clients once."""


@pytest.fixture
def clean_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


class Recorder(BaseHTTPRequestHandler):
    """Answers every request with 200 and `{}`, and records its path."""

    paths: list[str]

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the terminal quiet."""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[str]]]:
    """Yield a local server's URL, and the paths that were asked for."""
    paths: list[str] = []
    handler = type("Handler", (Recorder,), {"paths": paths})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}", paths


@pytest.mark.thorough
@pytest.mark.parametrize(
    "variables",
    [
        {"http_proxy": "127.0.0.1:9", "NO_PROXY": "example.com"},
        {
            "https_proxy": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
            "all_proxy": "socks5://127.0.0.1:9",
        },
    ],
)
def test_our_own_services_are_never_reached_through_a_proxy(
    variables: dict[str, str], recorder: tuple[str, list[str]], clean_proxies: pytest.MonkeyPatch
) -> None:
    """By none of the clients, although nothing listens where the proxy should be."""
    url, paths = recorder
    process = subprocess.run(
        [sys.executable, "-c", OUR_CLIENTS, url],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert {path.partition("?")[0] for path in paths} >= {
        *("/requests", "/httpx", "/connectors/connect-rest/status", "/subjects"),
        *("/boto", "/bucket/duckdb", "/graphql", "/aiohttp"),
    }


def test_started_programs_inherit_the_exemption_of_this_machine(
    clean_proxies: pytest.MonkeyPatch,
) -> None:
    script = (
        "import json, os, subprocess, sys, mastodon_pipeline\n"
        "child = 'import json, os; print(json.dumps(dict(os.environ)))'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)"
    )
    environ = {**os.environ, "HTTPS_PROXY": "proxy.example:3128", "NO_PROXY": "a.example b.example"}
    process = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, check=True
    )
    variables = json.loads(process.stdout)
    assert variables["HTTPS_PROXY"] == "http://proxy.example:3128"
    exempt = "a.example,b.example,127.0.0.1,localhost,::1"
    assert (variables["NO_PROXY"], variables["no_proxy"]) == (exempt, exempt)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"NO_PROXY": "a.example"}, {"NO_PROXY": "a.example"}),
        (
            {"http_proxy": "p:1", "NO_PROXY": "*"},
            {"http_proxy": "http://p:1", "NO_PROXY": "*", "no_proxy": "*"},
        ),
        (
            {"all_proxy": "socks5h://p:1", "HTTPS_PROXY": "p:2", "no_proxy": "*"},
            {"HTTPS_PROXY": "http://p:2", "NO_PROXY": "*", "no_proxy": "*"},
        ),
    ],
)
def test_environment_is_changed_only_as_far_as_it_names_proxies(
    before: dict[str, str], after: dict[str, str]
) -> None:
    """Normalising again changes nothing."""
    environ = dict(before)
    normalise_proxies(environ)
    assert environ == after
    normalise_proxies(environ)
    assert environ == after


@pytest.mark.parametrize(
    ("name", "proxy", "message"),
    [
        ("ALL_PROXY", "socks5h://127.0.0.1:1080", "ALL_PROXY=.* is a SOCKS proxy"),
        ("https_proxy", "socks4://u:secret@h:1080", r"https_proxy=socks4://\*\*\*@h:1080 is a"),
        ("HTTPS_PROXY", "http://", "HTTPS_PROXY=http:// is not a proxy's address"),
        ("HTTPS_PROXY", "http://h:port", "HTTPS_PROXY=.* write it like http"),
        ("HTTP_PROXY", "http://[::1", "HTTP_PROXY=.* write it like http"),
        ("HTTP_PROXY", "ftp://h:1", "HTTP_PROXY=.* write it like http"),
    ],
)
def test_proxy_that_cannot_be_used_is_refused_by_name(
    name: str, proxy: str, message: str, clean_proxies: pytest.MonkeyPatch
) -> None:
    clean_proxies.setenv(name, proxy)
    with pytest.raises(SettingsError, match=message) as refused:
        load_settings()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("proxy", ["http://u:p@proxy.example:3128", "https://proxy.example"])
def test_http_proxy_is_accepted(proxy: str) -> None:
    check_proxies({"HTTPS_PROXY": proxy})


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("http://user:secret@proxy.example:3128", "http://***@proxy.example:3128"),
        ("http://user:sec@ret@proxy:3128/x", "http://***@proxy:3128/x"),
        ("407, url='http://u:secret@127.0.0.1:1/'", "407, url='http://***@127.0.0.1:1/'"),
        ("user:secret@proxy.example:3128", "***@proxy.example:3128"),
        ("jdbc:postgresql://h/db?user=u&password=secret&x=1", None),
        ("https://mastodon.social/@alice", "https://mastodon.social/@alice"),
        ("write to alice@mastodon.social: now", "write to alice@mastodon.social: now"),
    ],
)
def test_credentials_of_an_address_are_left_out_of_texts(text: str, scrubbed: str | None) -> None:
    assert "secret" not in without_credentials(text)
    assert scrubbed in (None, without_credentials(text))
    for error in (
        SettingsError(text),
        ConnectUnavailable(text),
        ConnectRefused(500, text),
        Unreachable(text),
        Refused(407, text),
    ):
        assert "secret" not in str(error) + repr(error)
    assert "secret" not in network_reason(ValueError(text))


def test_refusing_proxy_is_named_without_its_password(clean_proxies: pytest.MonkeyPatch) -> None:
    """A proxy that answers 407 to the right address and the wrong password."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def ask() -> str:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        clean_proxies.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
        async with server, Connections(Settings()) as connections:
            with pytest.raises(Unreachable) as unreachable:
                await connections.get("https://a.example/", {}, None)
        return repr(unreachable.value)

    reason = asyncio.run(ask())
    assert "407" in reason
    assert "secret" not in reason


def test_maven_asks_the_proxy_of_the_environment(clean_proxies: pytest.MonkeyPatch) -> None:
    repository = "https://repo.example/maven2"
    assert "<proxies></proxies>" in maven_settings(repository)
    clean_proxies.setenv("HTTPS_PROXY", "http://us%40er:p%26w@proxy.example:3128")
    settings = maven_settings(repository)
    assert "<host>proxy.example</host><port>3128</port>" in settings
    assert "<username>us@er</username><password>p&amp;w</password>" in settings
    clean_proxies.setenv("NO_PROXY", "repo.example")
    assert "<proxies></proxies>" in maven_settings(repository)
