"""HTML to plain text, as Mastodon's own plain text formatter does it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.text import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("no markup", "no markup"),
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("<p>one<br>two<br />three</p>", "one\ntwo\nthree"),
        ("<p>Tom &amp; Jerry &lt;3</p>", "Tom & Jerry <3"),
        ("<p>a <b>bold</b> word</p>", "a bold word"),
        ("<ul><li>x</li><li>y</li></ul>", "x\ny"),
        ("<p>a</p><script>alert(1)</script>", "a"),
        ("<p>nul\0 &#0;</p>", "nul �"),
        ("half \ud83d a character", "half � a character"),
        ("日本語<br>テキスト", "日本語\nテキスト"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    """Paragraphs and breaks are newlines, entities are resolved, the rest of the markup goes."""
    assert plain_text(html) == text


def test_a_shortened_link_reads_as_its_whole_address() -> None:
    """Mastodon's invisible and ellipsis spans are joined, without spaces in between."""
    link = (
        '<p>see <a href="https://example.com/a/long/path" rel="nofollow"><span class="invisible">'
        'https://</span><span class="ellipsis">example.com/a/lo</span><span class="invisible">'
        "ng/path</span></a></p>"
    )
    assert plain_text(link) == "see https://example.com/a/long/path"


@given(st.text() | st.text(alphabet="<>&/p br#x0;\"'\0\ud800a"))
def test_any_html_gives_text_that_utf8_can_carry(html: str) -> None:
    """Whatever a server sends, the text can be encoded and holds no NUL."""
    text = plain_text(html)
    assert "\0" not in text
    text.encode()
