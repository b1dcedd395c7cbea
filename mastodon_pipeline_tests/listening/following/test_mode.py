"""How a server is followed depends on the token, its feed rules and how it refuses to stream."""

import pytest

from mastodon_pipeline.errors import Refused
from mastodon_pipeline.listening.following.instance import Access, InstanceInfo
from mastodon_pipeline.listening.following.mode import Refusals, after_refusal, choose_mode
from mastodon_pipeline.servers import Feed, Server, parse_server


def server(feed: Feed = "local") -> Server:
    return parse_server("https://a.example", feed)


def instance(local: Access = "public", remote: Access = "public") -> InstanceInfo:
    return InstanceInfo("a.example", "4.5.0", local, remote)


def test_server_is_streamed_with_a_token_and_polled_without() -> None:
    """Streaming needs a user's token since Mastodon 4.2."""
    assert choose_mode(server(), instance(), has_token=True).kind == "stream"
    assert choose_mode(server(), instance(), has_token=False).kind == "poll"


def test_closed_feed_without_a_token_is_parked_and_names_the_variable() -> None:
    mode = choose_mode(server(), instance(local="authenticated"), has_token=False)
    assert mode.kind == "park"
    assert "MASTODON_TOKEN_A_EXAMPLE" in mode.reason


def test_disabled_feed_is_parked_even_with_a_token() -> None:
    """Its stream would stay open and silent."""
    assert choose_mode(server(), instance(local="disabled"), has_token=True).kind == "park"


@pytest.mark.parametrize("has_token", [False, True])
@pytest.mark.parametrize(("offered", "disabled"), [("local", "remote"), ("remote", "local")])
def test_public_feed_with_a_disabled_half_is_the_other_half(
    offered: Feed, disabled: str, has_token: bool
) -> None:
    """And what is left out is said."""
    access: dict[str, Access] = {offered: "public", disabled: "disabled"}
    mode = choose_mode(server("public"), instance(**access), has_token)
    assert (mode.kind, mode.feed) == ("stream" if has_token else "poll", offered)
    assert f"disabled its {disabled} feed, so only its {offered} toots" in mode.words
    other = choose_mode(server(disabled), instance(**access), has_token)  # type: ignore[arg-type]
    assert other.kind == "park"


def test_open_half_of_a_public_feed_may_need_a_token() -> None:
    info = instance("authenticated", "disabled")
    mode = choose_mode(server("public"), info, has_token=False)
    assert mode.kind == "park"
    assert "its local feed needs a token" in mode.words
    assert choose_mode(server("public"), info, has_token=True).feed == "local"


def test_public_feed_whose_halves_are_disabled_is_parked() -> None:
    mode = choose_mode(server("public"), instance("disabled", "disabled"), has_token=True)
    assert (mode.kind, mode.reason) == ("park", "the server has disabled its public feed")


@pytest.mark.parametrize(
    ("feed", "kind"), [("local", "poll"), ("remote", "park"), ("public", "poll")]
)
def test_each_feed_follows_its_own_access_rule(feed: Feed, kind: str) -> None:
    """The public feed needs both rules; here only the local feed is open."""
    mode = choose_mode(server(feed), instance(remote="authenticated"), has_token=False)
    assert mode.kind == kind


def test_open_half_of_a_public_feed_is_polled() -> None:
    """The server would refuse a request for the whole feed; the reason says what is left out."""
    mode = choose_mode(server("public"), instance(remote="authenticated"), has_token=False)
    assert mode.feed == "local"
    assert "only its local toots" in mode.reason
    whole = choose_mode(server("public"), instance(), has_token=False)
    assert whole.feed == "public"
    refusals = after_refusal(Refusals(), whole, Refused(422, "Unprocessable Content"))
    assert refusals is not None, "a server may not publish its rules, but its answer shows them"
    assert choose_mode(server("public"), instance(), False, refusals).feed == "local"


def test_refused_token_falls_back_to_polling_without_it() -> None:
    """If the feed is open to everybody; otherwise the server is parked."""
    refused = Refusals(stream=Refused(401, "Unauthorized"))
    mode = choose_mode(server(), instance(), has_token=True, refusals=refused)
    assert (mode.kind, mode.with_token) == ("poll", False)
    closed = choose_mode(server(), instance("authenticated"), True, refused)
    assert closed.kind == "park"


@pytest.mark.parametrize("status", [400, 404, 405, 426, 501])
def test_websocket_then_polling_is_tried_without_an_event_stream(status: int) -> None:
    """GoToSocial has WebSockets only; a server with neither is polled with the token."""
    refused = Refused(status, "no")
    stream = choose_mode(server(), instance("authenticated"), True)
    refusals = after_refusal(Refusals(), stream, refused)
    assert refusals is not None
    websocket = choose_mode(server(), instance("authenticated"), True, refusals)
    assert websocket.kind == "websocket"
    refusals = after_refusal(refusals, websocket, refused)
    assert refusals is not None
    polled = choose_mode(server(), instance("authenticated"), True, refusals)
    assert (polled.kind, polled.with_token) == ("poll", True)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_keeps_its_mode(status: int) -> None:
    """It has not refused to stream."""
    mode = choose_mode(server(), instance(), True)
    assert after_refusal(Refusals(), mode, Refused(status, "busy")) is None


def test_streams_are_opened_at_the_advertised_url_or_the_base_url() -> None:
    advertised = InstanceInfo(
        "a.example", "4.5.0", "public", "public", "https://streaming.a.example"
    )
    assert choose_mode(server(), advertised, True).streaming_url == "https://streaming.a.example"
    assert choose_mode(server(), instance(), True).streaming_url == "https://a.example"
