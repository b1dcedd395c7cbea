"""HTML becomes plain text as by Mastodon's own plain text formatter."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from infra.simulator.plan import build_plan
from mastodon_pipeline.listening.protocol.text import MAX_PARSED, plain_text

BREAKS = re.compile(r"(?:\s*(?:<br\s*/?>|</(?:p|div|li|blockquote|pre|h[1-6])>)\s*)+", re.I)
TAGS = "p a b br span i em s del pre code ul ol li blockquote h2 script style div table td select"
fragments = st.sampled_from(
    [
        *(f"<{name}>" for name in TAGS.split()),
        *(f"</{name}>" for name in TAGS.split()),
        *(
            '<a href="https://a.example/?x=1&amp;y=2" rel="tag">',
            '<span class="">',
            '<a title=">">',
        ),
        *(
            "<a title='",
            '<p x="',
            "<br/>",
            "<br />",
            "<BR >",
            "<P>",
            "</br>",
            "<!--",
            "-->",
            "<",
            ">",
        ),
        *(
            "&amp;",
            "&lt;",
            "&gt;",
            "&quot;",
            "&#39;",
            "&nbsp;",
            "&am",
            "p;",
            "&copy",
            "&#x27;",
            "&",
        ),
        *(" ", "\n", "\r", "\t", "\xa0", "\0", "word", "日本", "\U0001f600", '"', "'"),
    ]
)


def by_parser(html: str) -> str:
    """Apply the rule with an HTML parser only, however long it takes."""
    clean = html.replace("\0", "")
    parser = LexborHTMLParser(BREAKS.sub("\n", clean).strip())
    parser.strip_tags(["script", "style"])
    assert parser.body is not None
    return str(parser.body.text()).replace("\0", "").strip()


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
    """Paragraphs and breaks are newlines, entities are resolved, other markup is removed."""
    assert plain_text(html) == text


def test_shortened_link_becomes_its_full_address() -> None:
    """Mastodon's invisible and ellipsis spans are joined without spaces."""
    link = (
        '<p>see <a href="https://example.com/a/long/path" rel="nofollow"><span class="invisible">'
        'https://</span><span class="ellipsis">example.com/a/lo</span><span class="invisible">'
        "ng/path</span></a></p>"
    )
    assert plain_text(link) == "see https://example.com/a/long/path"


@settings(deadline=None)
@given(st.text() | st.text(alphabet="<>&/p br#x0;\"'\0\ud800a"))
def test_any_html_gives_valid_utf8_without_nul(html: str) -> None:
    text = plain_text(html)
    assert "\0" not in text
    text.encode()


@settings(deadline=None)
@given(st.lists(fragments, max_size=12).map("".join))
def test_text_is_the_same_as_by_an_html_parser(html: str) -> None:
    """Tags are removed without the parser only if it would give the same text."""
    assert plain_text(html) == by_parser(html)


def test_text_of_a_servers_own_html_is_what_its_author_wrote() -> None:
    """Links, mentions, hashtags, entities and emoji in all of the simulator's languages."""
    for toot in build_plan(["a.example", "b.example"], 500, 1.0, 7, 1_780_000_000_000).toots:
        assert plain_text(toot.body.html) == toot.body.text == by_parser(toot.body.html)


@pytest.mark.parametrize(
    "part", ["<div>", "<p>", " ", "&", "<", "<b>", '<a x="', "<br ", "</p> ", "<table>x", "&#1;"]
)
def test_hostile_html_takes_less_than_a_second(part: str) -> None:
    """A quarter of a megabyte: a parser would nest it, a careless pattern would backtrack."""
    html = part * (16 * MAX_PARSED // len(part)) + "<i>the end"
    began = time.process_time()
    assert plain_text(html).endswith("the end")
    assert time.process_time() - began < 1
