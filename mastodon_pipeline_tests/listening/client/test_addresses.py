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
