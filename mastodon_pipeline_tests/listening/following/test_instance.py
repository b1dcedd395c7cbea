"""What a server says about itself is read with care."""

import pytest

from mastodon_pipeline.listening.following.instance import streaming_url


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
