"""A toot's HTML as plain text, as a person would copy it.

The rule is Mastodon's own (`app/lib/plain_text_formatter.rb`): runs of `<br>` and `</p>` become
one newline, all other tags vanish, entities are resolved. Links read as their whole address:
Mastodon cuts it into spans (`invisible`, `ellipsis`) which only style sheets shorten, so joining
the spans gives it back.
"""

import re

from selectolax.lexbor import LexborHTMLParser

_NEWLINES = re.compile(r"(?:\s*(?:<br\s*/?>|</(?:p|div|li|blockquote|pre|h[1-6])>)\s*)+", re.I)
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain_text(html: str) -> str:
    """The text of a toot's HTML; '' for an empty toot. Always encodable as UTF-8, without NUL."""
    if not html:
        return ""
    if "<" not in html and "&" not in html:
        return scrub(html).strip()
    parser = LexborHTMLParser(_NEWLINES.sub("\n", scrub(html)))
    parser.strip_tags(["script", "style"])
    body = parser.body
    # The parser resolves numeric entities, so a NUL or a surrogate may appear only now.
    return scrub(body.text()).strip() if body is not None else ""


def scrub(text: str) -> str:
    """The text without NUL (which databases refuse) and with U+FFFD for lone surrogates.

    A lone surrogate is half of a character that JSON's `\\ud83d` escapes can smuggle in and UTF-8
    cannot carry.
    """
    if "\0" in text:
        text = text.replace("\0", "")
    # ASCII and surrogates exclude each other, and the check for ASCII is free.
    return text if text.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
