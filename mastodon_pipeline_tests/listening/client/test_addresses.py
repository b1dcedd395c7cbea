"""Only public addresses are connected to, and exactly those that were checked."""

import asyncio
import socket

import pytest

from mastodon_pipeline.errors import UnsafeAddress
from mastodon_pipeline.listening.client.addresses import (
    PublicResolver,
    check_address,
    check_scheme_and_literal,
    in_daemon_thread,
)


@pytest.mark.parametrize(
    "url",
    [
        "http://mastodon.social",
        "https://127.0.0.1",
        "https://10.1.2.3:8443",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://169.254.169.254",
        "https://[64:ff9b::7f00:1]",
        "https://[64:ff9b::a9fe:a9fe]",
        "https://[2002:7f00:1::]",
        "https://[fe80::1]",
        "https://192.168.1.1",
        "https://224.0.0.1",
        "https://localhost",
    ],
)
def test_address_that_no_public_server_has_is_refused(url: str) -> None:
    """Plain http, loopback, private, link-local and multicast addresses, in either IP version.

    Shows G8.
    """
    with pytest.raises(UnsafeAddress):
        check_address(url)


def test_public_address_is_accepted() -> None:
    check_address("https://9.9.9.9")


def test_literal_address_is_checked_without_being_resolved() -> None:
    """aiohttp resolves names only, not literal addresses."""
    check_scheme_and_literal("https://a.example:8443")
    check_scheme_and_literal("wss://[2606:4700:4700::1111]/api")
    for url in ("https://127.0.0.1", "wss://[::1]:1", "http://9.9.9.9", "ws://a.example"):
        with pytest.raises(UnsafeAddress):
            check_scheme_and_literal(url)


@pytest.mark.parametrize("address", ["198.18.0.7", "198.19.255.1", "::ffff:198.18.0.7"])
def test_fake_address_is_refused_with_the_setting_unless_a_proxy_resolves_the_name(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VPN program's DNS gives every name an address of its own; only that program knows more."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)
    with pytest.raises(UnsafeAddress, match=r"fake-IP .* set HTTPS_PROXY"):
        check_address("https://a.example")
    with pytest.raises(UnsafeAddress, match=r"fake-IP .* set HTTPS_PROXY"):
        asyncio.run(PublicResolver().resolve("a.example", 443, socket.AF_INET))
    check_address("https://a.example", through_proxy=True)


def test_private_address_is_refused_through_a_proxy_as_well() -> None:
    for url in ("https://localhost", "https://10.1.2.3", "https://198.18.0.7", "http://a.example"):
        with pytest.raises(UnsafeAddress):
            check_address(url, through_proxy=True)


@pytest.mark.parametrize(
    "host",
    [
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "127｡0｡0｡1",
        "127.0.0.1.",
        "12\u00ad7.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "0",
        "⑩.1",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "[fe80::1%25eth0]",
    ],
)
def test_any_spelling_of_a_private_address_is_refused(host: str) -> None:
    """HTTP clients and resolvers read them all: the host that is connected to counts. Shows G8."""
    for url in (f"https://{host}", f"wss://{host}:8443/api"):
        with pytest.raises(UnsafeAddress):
            check_scheme_and_literal(url)


@pytest.mark.parametrize("host", ["bücher.example", "9.9.9.9", "0x.example", "127.0.0.1.example"])
def test_name_or_public_address_in_any_spelling_is_accepted(host: str) -> None:
    check_scheme_and_literal(f"https://{host}")


def test_name_is_resolved_to_the_addresses_that_were_checked() -> None:
    """The connection goes to these: no second lookup can change them. Shows G8."""
    with pytest.raises(UnsafeAddress, match="localhost has the address"):
        asyncio.run(PublicResolver().resolve("localhost", 443, socket.AF_INET))
    [result] = asyncio.run(PublicResolver(True).resolve("localhost", 443, socket.AF_INET))
    assert (result["host"], result["port"], result["hostname"]) == ("127.0.0.1", 443, "localhost")
    assert result["flags"] & socket.AI_NUMERICHOST


def test_error_of_a_daemon_thread_is_raised_where_it_is_awaited() -> None:

    def fail() -> None:
        raise OSError("no such host")

    with pytest.raises(OSError, match="no such host"):
        asyncio.run(in_daemon_thread(fail))
    assert asyncio.run(in_daemon_thread(lambda: 7)) == 7
