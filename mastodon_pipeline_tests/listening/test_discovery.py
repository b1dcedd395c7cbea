"""The way a server is listened to: by token, feed rules and its answer to streaming."""

import pytest

from mastodon_pipeline.listening.discovery import Access, Discovered, choose_way
from mastodon_pipeline.listening.server_session import Refused
from mastodon_pipeline.settings import Feed, Server, parse_server


def server(feed: Feed = "local") -> Server:
    return parse_server("https://a.example", feed)


def found(local: Access = "public", remote: Access = "public") -> Discovered:
    return Discovered("a.example", "4.5.0", local, remote)


def test_a_token_streams_and_none_polls() -> None:
    """Streaming needs a user's token since Mastodon 4.2."""
    assert choose_way(server(), found(), has_token=True).kind == "stream"
    assert choose_way(server(), found(), has_token=False).kind == "poll"


def test_a_closed_feed_without_a_token_is_parked_and_the_variable_named() -> None:
    """The reason says what to do."""
    way = choose_way(server(), found(local="authenticated"), has_token=False)
    assert way.kind == "park"
    assert "MASTODON_TOKEN_A_EXAMPLE" in way.reason


def test_a_feed_that_is_off_is_parked_even_with_a_token() -> None:
    """Its stream would stay open and silent."""
    assert choose_way(server(), found(local="disabled"), has_token=True).kind == "park"


@pytest.mark.parametrize(
    ("feed", "kind"), [("local", "poll"), ("remote", "park"), ("public", "park")]
)
def test_each_feed_has_its_own_rule(feed: Feed, kind: str) -> None:
    """The public feed needs both; here only the local one is open."""
    way = choose_way(server(feed), found(remote="authenticated"), has_token=False)
    assert way.kind == kind


def test_a_refused_token_falls_back_to_polling_without_it() -> None:
    """Where the feed is open to all; else the server is parked."""
    refused = Refused(401, "Unauthorized")
    way = choose_way(server(), found(), has_token=True, stream_refusal=refused)
    assert (way.kind, way.with_token) == ("poll", False)
    closed = choose_way(server(), found("authenticated"), True, refused)
    assert closed.kind == "park"


def test_a_server_without_streams_is_polled_with_the_token() -> None:
    """404 at the streaming address: other software, same API."""
    way = choose_way(server(), found("authenticated"), True, Refused(404, "Not Found"))
    assert (way.kind, way.with_token) == ("poll", True)
