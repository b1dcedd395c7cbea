"""Inputs that are nearly what servers send: seeds of the corpus, cut, joined and spoilt."""

from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target. An input that once failed is added to it, and so tried for ever."""
MAX_MUTATIONS = 12
TOKENS = (
    *(b"<", b">", b"</p>", b"<p>", b"<pre", b"<br>", b"<!--", b"-->", b"<![CDATA[", b"<script>"),
    *(b"&", b"&#x110000;", b"&#55296;", b"&lt;", b"&#99999999999;", b"&nbsp"),
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"0", b"-1", b"1e999"),
    *(b"\\ud800", b"\\u0000", b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xae"),
    *(b"\r", b"\n", b"\r\n", b"\n\n", b"data:", b"event: update\n", b": ", b"id:"),
    *(b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"T99:99", b"NaN", b"9" * 400),
    *(b"quote-inline", b"invisible", b"ellipsis", b"visibility", b"local_only", b"noindex"),
)


def seeds(target: str) -> list[bytes]:
    """Return the corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


@st.composite
def spoilt(draw: st.DrawFn, target: str) -> bytes:
    """A seed with up to a dozen changes: bytes cut, copied, repeated or put in."""
    corpus = seeds(target)
    data = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(0, MAX_MUTATIONS))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 200)))
        match draw(st.sampled_from(("cut", "copy", "repeat", "token", "bytes", "join", "number"))):
            case "cut":
                data = data[:at] + data[end:]
            case "copy":
                to = draw(st.integers(0, len(data)))
                data = data[:to] + data[at:end] + data[to:]
            case "repeat":
                data = data[:at] + data[at:end] * draw(st.integers(2, 300)) + data[end:]
            case "token":
                data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]
            case "bytes":
                data = data[:at] + draw(st.binary(max_size=8)) + data[end:]
            case "join":
                data = data[:at] + draw(st.sampled_from(corpus)) + data[end:]
            case "number":
                data = data[:at] + str(draw(st.integers())).encode() + data[at:]
    return data
