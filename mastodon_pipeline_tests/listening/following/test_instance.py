"""What a server says about itself is read with care."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.following.instance import (
    InstanceInfo,
    instance_info,
    streaming_url,
)
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.topic.positions import decode_position, encode_position
from mastodon_pipeline.servers import parse_server


@pytest.mark.parametrize(
    ("advertised", "url"),
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
def test_unusable_streaming_url_is_ignored(advertised: object, url: str) -> None:
    """The base URL is used then; plain http is refused when the connection is made."""
    assert streaming_url({"configuration": {"urls": {"streaming": advertised}}}) == url
    assert streaming_url({"urls": {"streaming_api": advertised}}) == url, "before Mastodon 4.0"


def info_of(**entity: object) -> InstanceInfo:
    return instance_info(parse_server("https://a.example"), entity)


@pytest.mark.parametrize(
    ("domain", "used"),
    [
        ("B.Example", "b.example"),
        ("https://b.example/", "b.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("b.example.:443", "b.example"),
        ("b.example:8443", "b.example:8443"),
        ("\ud800.example", "a.example"),
        ("b.example\n", "a.example"),
        ("b. example", "a.example"),
        ("b\0.example", "a.example"),
        ("b" * 256, "a.example"),
        ("", "a.example"),
        (7, "a.example"),
        (None, "a.example"),
    ],
)
def test_domain_that_makes_no_sense_is_that_of_the_address(domain: object, used: str) -> None:
    """It becomes the name of a home server in every table. Shows G6."""
    assert info_of(domain=domain).domain == used


def test_gotosocial_s_accounts_are_of_its_account_domain() -> None:
    """`account_domain` stands beside `domain`, where its API is. Shows G12."""
    entity = {"domain": "social.b.example", "account_domain": "B.example"}
    assert info_of(**entity).domain == "b.example"
    assert info_of(**{**entity, "account_domain": ""}).domain == "social.b.example"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
) | st.text(st.characters(), min_size=1).map(lambda text: text * 2000)


@given(
    st.dictionaries(
        st.sampled_from(["domain", "uri", "version", "source_url", "configuration", "urls"]),
        json_values
        | json_values.map(lambda value: {"urls": {"streaming": value}})
        | json_values.map(lambda value: {"streaming_api": value})
        | json_values.map(lambda value: {"timelines_access": {"live_feeds": {"local": value}}}),
    )
)
def test_any_self_description_can_be_saved(entity: dict[str, object]) -> None:
    """Short, and with what Kafka's positions can hold. Shows G6."""
    position = SavedPosition("1", instance=info_of(**entity))
    value = encode_position(position)
    assert decode_position(value) == position
    assert len(value) < 8192


@pytest.mark.parametrize(
    ("entity", "by_default"),
    [
        ({"source_url": "https://codeberg.org/superseriousbusiness/gotosocial"}, True),
        ({"source_url": "https://git.example/forks/GoToSocial", "version": "1.0"}, True),
        ({"version": "0.20.2+git-1234567"}, True),
        ({"version": "0.21.0-rc1+git-1234567"}, True),
        ({"version": "4.5.3", "source_url": "https://github.com/mastodon/mastodon"}, False),
        ({"version": "4.5.3+glitch"}, False),
        ({"source_url": 7, "version": None}, False),
    ],
)
def test_gotosocial_is_recognized(entity: dict[str, object], by_default: bool) -> None:
    """Its noindex is a default and no wish. Shows G15."""
    assert info_of(**entity).noindex_by_default is by_default
