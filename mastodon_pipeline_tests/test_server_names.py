"""One name a server, however it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.server_names import server_name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("one.example", "one.example"),
        ("One.EXAMPLE", "one.example"),
        ("one.example.", "one.example"),
        ("one.example:443", "one.example"),
        ("One.Example.:443", "one.example"),
        ("one.example:8443", "one.example:8443"),
        ("one.example.:08443", "one.example:8443"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\N{COMBINING DIAERESIS}cher.example", "xn--bcher-kva.example"),
        ("XN--Bcher-KVA.example", "xn--bcher-kva.example"),
        ("bücher.example:443", "xn--bcher-kva.example"),
        ("bücher\N{IDEOGRAPHIC FULL STOP}example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("ｏｎｅ.example", "one.example"),
        ("i❤.example", "xn--i-7iq.example"),
        ("🥺.social", "xn--ts9h.social"),
        ("my_server.example", "my_server.example"),
        ("127.0.0.1:3000", "127.0.0.1:3000"),
        ("①②⑦.⓪.⓪.①", "127.0.0.1"),
        ("[::1]:3000", "[::1]:3000"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_server_has_one_name_however_it_is_written(written: str, name: str) -> None:
    assert server_name(written) == name
    assert server_name(name) == name


def test_port_of_http_is_left_out_for_http() -> None:
    assert server_name("one.example:80", 80) == "one.example"
    assert server_name("one.example:443", 80) == "one.example:443"


@given(st.text(max_size=300))
def test_any_text_has_a_short_name(text: str) -> None:
    """Servers send anything as a domain."""
    name = server_name(text)
    assert name == name.lower() or not name.isascii()
    assert len(name) <= 5000
