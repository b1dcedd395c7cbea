"""HTML becomes plain text as by Mastodon's own plain text formatter."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from infra.simulator.plan import build_plan
from mastodon_pipeline.listening.protocol.text import (
    MAX_HTML,
    MAX_PARSED,
    MAX_PARSED_TAGS,
    plain_text,
)

BLOCKS = (
    "p|div|li|ul|ol|dl|dt|dd|blockquote|pre|h1|h2|h3|h4|h5|h6|hr|table|caption|tr|thead|tbody|tfoot"
    "|address|center|section|article|aside|header|footer|main|nav|figure|figcaption|details|summary"
    "|form|fieldset"
)
REST_OF_TAG = r"""(?:[\s/](?:[^<>"']|"[^"<>]*"|'[^'<>]*')*)?>"""
BREAKS = re.compile(rf"(?:\s*<(?:br|/?(?:{BLOCKS})){REST_OF_TAG}\s*)+", re.I)
CELLS = re.compile(rf"<(?:td|th){REST_OF_TAG}", re.I)
TAGS = (
    "p a b br span i em s del pre code ul ol li blockquote h2 hr script style div table tr td th"
    " select"
)
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
    parser = LexborHTMLParser(BREAKS.sub("\n", CELLS.sub(" ", clean)).strip())
    parser.strip_tags(["script", "style"])
    assert parser.body is not None
    return str(parser.body.text()).replace("\0", "").strip()


FORMULA = (
    "<math><semantics><mrow><mi>x</mi><mo>=</mo><mn>1</mn></mrow>"
    '<annotation encoding="application/x-tex">x = 1</annotation></semantics></math>'
)


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
        ("<ol start='2'><li>x<ul><li>in</li></ul></li><li>y</li></ol>", "x\nin\ny"),
        ("to do:<ul><li>x<li>y</ul>done", "to do:\nx\ny\ndone"),
        ("<p>one<p>two", "one\ntwo"),
        ("intro<p class='a'>one</p>end", "intro\none\nend"),
        ("a<hr>b<hr />c", "a\nb\nc"),
        ("<p>a</p><hr><p>b</p>", "a\nb"),
        ("t<h2>heading</h2>x", "t\nheading\nx"),
        ("<dl><dt>term</dt><dd>meaning</dd></dl>", "term\nmeaning"),
        ("<details><summary>short</summary>long</details>", "short\nlong"),
        ("<table><tr><th>H</th><th>I</th></tr><tr><td>a<td>b</table>z", "H I\na b\nz"),
        ("<TABLE><TR><TD align='x'>a</TD><TD>b</TD></TR></TABLE>", "a b"),
        ("<p>a<br><br/>\n<br />b</p>", "a\nb"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("<p title='>'>x</p>", "x"),
        (
            "<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp>字<rp>(</rp><rt>ji</rt><rp>)</rp></ruby>",
            "漢(kan)字(ji)",
        ),
        ("<ruby>漢<rt>kan</rt>字<rt lang='ja'>ji</rt></ruby>", "漢(kan)字(ji)"),
        (f"<p>so {FORMULA}</p>", "so x = 1"),
        ("<p>so <math><mi>x</mi><mo>=</mo><mn>1</mn></math></p>", "so x=1"),
        ("<p>:blobcat: and :a::b:</p>", ":blobcat: and :a::b:"),
        ('<p>x <img class="emoji" alt=":cat:" src="https://a.example/1.png"> y</p>', "x :cat: y"),
        ('<p>x <img alt="a cat, asleep"></p>', "x"),
        ("<p>a&nbsp;b&shy;c</p>", "a\N{NO-BREAK SPACE}b\N{SOFT HYPHEN}c"),
        ("<p>a</p><script>alert(1)</script>", "a"),
        ("<p>nul\0 &#0;</p>", "nul �"),
        ("half \ud83d a character", "half � a character"),
        ("日本語<br>テキスト", "日本語\nテキスト"),
    ],
)
def test_html_becomes_text(html: str, text: str) -> None:
    """Lines are as a browser breaks them, entities are resolved, other markup is removed."""
    assert plain_text(html) == text


def test_shortened_link_becomes_its_full_address() -> None:
    """Mastodon's invisible and ellipsis spans are joined without spaces."""
    link = (
        '<p>see <a href="https://example.com/a/long/path" rel="nofollow"><span class="invisible">'
        'https://</span><span class="ellipsis">example.com/a/lo</span><span class="invisible">'
        "ng/path</span></a></p>"
    )
    assert plain_text(link) == "see https://example.com/a/long/path"


QUOTE_LINK = (
    'RE: <a href="https://b.example/@bo/1" rel="nofollow"><span class="invisible">https://</span>'
    '<span class="">b.example/@bo/1</span></a>'
)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (f'<p class="quote-inline">{QUOTE_LINK}</p><p>mine</p>', "mine"),
        (f"<p class='quote-inline'>{QUOTE_LINK}</p><p>mine</p>", "mine"),
        (f'<p dir="auto" class="note quote-inline">{QUOTE_LINK}</p>mine', "mine"),
        (f'<P CLASS="quote-inline">{QUOTE_LINK}</P>mine', "mine"),
        (f'<p>mine<span class="quote-inline"><br/><br/>{QUOTE_LINK}</span></p>', "mine"),
        (f'<p>mine <span class="quote-inline">{QUOTE_LINK}</span> and on</p>', "mine  and on"),
        ('<p class="quote-inline">never closed', "never closed"),
        ('<p class="no-quote-inline">kept</p>', "kept"),
        ('<p title="quote-inline">kept</p>', "kept"),
        ("<p>class quote-inline</p>", "class quote-inline"),
    ],
)
def test_link_to_a_quoted_toot_is_not_the_authors_text(html: str, text: str) -> None:
    """Mastodon hides it where it shows the quote, and servers of other software span it."""
    assert plain_text(html, quotes=True) == text


def test_quote_link_of_a_toot_without_quote_is_text() -> None:
    """Nothing else shows what the toot is about."""
    html = '<p class="quote-inline">RE: https://b.example/1</p><p>mine</p>'
    assert plain_text(html) == "RE: https://b.example/1\nmine"


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


SLOW_PARTS = [
    *("<div>", "<p>", " ", "&", "<", "<b>", '<a x="', "<br ", "</p> ", "<table>x", "&#1;"),
    *("<hr ", "<table><tr><td>", "<td>", "<td a", "<th ", "<math>", FORMULA, "<rt>", "<rt>x</rt>"),
    *("<ruby><rt", "<img alt=':a:'>", '<img alt=":', "<li><ul>", "<p a='", "<p a='b'", "<dl><dt>"),
    *("<annotation encoding='application/x-tex'>", "<math><math>", "</math>", "<p/", "<p''"),
    *("<pre<pre", "<pre ", "<pre x", "<pre>", '<pre x="', "<p<p", "<br<br", "<br\n", "</p", "</"),
    *("<!--", "<![CDATA[", "<script>", "<svg>", "<a><b>", "<b><p>", "<font color=1><p>", "\r"),
    *(
        "<select><option>",
        "<template>",
        "<i><div>",
        '<a href="',
        "<a title='",
        'class="',
        "< ",
        ">",
    ),
    *(
        "&#",
        "&#x",
        "&#9",
        "9",
        "f",
        "&amp",
        "&abcdefghijklmnopqrstuvwxyzabcdefghij",
        "\0",
        "\ud800",
    ),
    *('<p class="quote-inline">', '<span class="quote-inline">', "</span>", "<span ", "\xa0", "日"),
]
"""Pieces of HTML that, repeated, would make a parser nest or a careless pattern backtrack."""
PLAIN_TEXT_SECONDS = 0.2
"""CPU time that any HTML may take: 4 MiB of plain text take 5 ms, with room for a slow CPU."""


def assert_fast(html: str, quotes: bool) -> None:
    began = time.thread_time()
    plain_text(html, quotes)
    assert time.thread_time() - began < PLAIN_TEXT_SECONDS


@pytest.mark.parametrize(
    "size",
    [
        MAX_PARSED - 64,
        pytest.param(MAX_HTML, marks=pytest.mark.thorough),
        pytest.param(4 * 2**20, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("part", SLOW_PARTS)
def test_hostile_html_takes_little_time(part: str, size: int) -> None:
    """Up to 4 MiB, the largest event: its CPU time stops every other server. Shows G6."""
    assert_fast(part * (size // len(part)) + "<i>the end", quotes=True)


@pytest.mark.thorough
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(SLOW_PARTS), min_size=1, max_size=4),
    st.lists(st.sampled_from(SLOW_PARTS), min_size=1, max_size=4),
    st.sampled_from([MAX_PARSED - 64, MAX_HTML, 4 * 2**20]),
)
def test_mixed_hostile_html_takes_little_time(begin: list[str], end: list[str], size: int) -> None:
    """One mix of pieces repeated, then another. Shows G6."""
    halves = ["".join(parts) for parts in (begin, end)]
    assert_fast("".join(half * (size // 2 // len(half)) for half in halves), quotes=True)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 2000), st.sampled_from(["b a={}", "font color={}", "a x={}", "i z={}"]))
def test_formatting_elements_reopened_by_every_paragraph_take_little_time(
    count: int, tag: str
) -> None:
    """HTML's rules reopen each of them in each paragraph, which costs a parser their product."""
    html = "".join(f"<{tag.format(number)}>" for number in range(count))
    html += "<p>x" * max((MAX_PARSED - 64 - len(html)) // 4, 0)
    assert_fast(html, quotes=False)


def test_only_the_beginning_of_overlong_html_is_read() -> None:
    assert plain_text("a" * (MAX_HTML + 1)) == "a" * MAX_HTML


@pytest.mark.parametrize("number", ["9" * 5000, "x" + "f" * 5000, "99999999;", "xD800;", "0;"])
def test_number_of_no_character_becomes_one_replacement(number: str) -> None:
    """In long HTML too, which is not parsed: Python refuses to read a number of 4,300 digits."""
    for padding in ("", "<unusual>" * MAX_PARSED_TAGS + "<unusual>"):
        assert plain_text(f"{padding}&#{number} end").endswith("\N{REPLACEMENT CHARACTER} end")
