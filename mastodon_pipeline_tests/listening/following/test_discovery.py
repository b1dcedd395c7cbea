"""The way a server is listened to: by token, feed rules and its answer to streaming."""

import pytest

from mastodon_pipeline.errors import Refused
from mastodon_pipeline.listening.following.discovery import (
    Access,
    Discovered,
    Refusals,
    after_refusal,
    choose_way,
    streaming_url,
)
from mastodon_pipeline.servers import Feed, Server, parse_server


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
    ("feed", "kind"), [("local", "poll"), ("remote", "park"), ("public", "poll")]
)
def test_each_feed_has_its_own_rule(feed: Feed, kind: str) -> None:
    """The public feed needs both; here only the local one is open."""
    way = choose_way(server(feed), found(remote="authenticated"), has_token=False)
    assert way.kind == kind


def test_of_a_public_feed_at_least_the_open_half_is_polled() -> None:
    """Asked for everything, the server would refuse; the reason says what is left out."""
    way = choose_way(server("public"), found(remote="authenticated"), has_token=False)
    assert way.feed == "local"
    assert "only its own toots" in way.reason
    asked = choose_way(server("public"), found(), has_token=False)
    assert asked.feed == "public"
    refusals = after_refusal(Refusals(), asked, Refused(422, "Unprocessable Content"))
    assert refusals is not None, "a server that does not tell its rules has told them now"
    assert choose_way(server("public"), found(), False, refusals).feed == "local"


def test_a_refused_token_falls_back_to_polling_without_it() -> None:
    """Where the feed is open to all; else the server is parked."""
    refused = Refusals(stream=Refused(401, "Unauthorized"))
    way = choose_way(server(), found(), has_token=True, refusals=refused)
    assert (way.kind, way.with_token) == ("poll", False)
    closed = choose_way(server(), found("authenticated"), True, refused)
    assert closed.kind == "park"


@pytest.mark.parametrize("status", [400, 404, 405, 426, 501])
def test_without_a_stream_of_events_a_websocket_is_tried_and_then_polling(status: int) -> None:
    """GoToSocial has WebSockets only; what has neither is polled with the token."""
    refused = Refused(status, "no")
    by_events = choose_way(server(), found("authenticated"), True)
    refusals = after_refusal(Refusals(), by_events, refused)
    assert refusals is not None
    by_websocket = choose_way(server(), found("authenticated"), True, refusals)
    assert by_websocket.kind == "websocket"
    refusals = after_refusal(refusals, by_websocket, refused)
    assert refusals is not None
    polled = choose_way(server(), found("authenticated"), True, refusals)
    assert (polled.kind, polled.with_token) == ("poll", True)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_goes_the_same_way_later(status: int) -> None:
    """It has not refused to stream."""
    way = choose_way(server(), found(), True)
    assert after_refusal(Refusals(), way, Refused(status, "busy")) is None


def test_streams_are_where_the_server_says() -> None:
    """Else at its own address."""
    told = Discovered("a.example", "4.5.0", "public", "public", "https://streaming.a.example")
    assert choose_way(server(), told, True).streaming_url == "https://streaming.a.example"
    assert choose_way(server(), found(), True).streaming_url == "https://a.example"


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("wss://streaming.a.example", "https://streaming.a.example"),
        ("wss://a.example:8443/stream/", "https://a.example:8443/stream"),
        ("https://a.example", "https://a.example"),
        ("ws://a.example", "http://a.example"),
        ("wss://user@evil.example", ""),
        ("file:///etc/passwd", ""),
        ("wss://a.example:port", ""),
        (None, ""),
        ({"no": "text"}, ""),
    ],
)
def test_what_is_no_streaming_url_is_as_if_it_were_not_said(told: object, url: str) -> None:
    """The base URL is good then; http is refused where it would be connected."""
    assert streaming_url({"configuration": {"urls": {"streaming": told}}}) == url
    assert streaming_url({"urls": {"streaming_api": told}}) == url, "before Mastodon 4.0"
