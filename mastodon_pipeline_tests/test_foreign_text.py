"""Short texts of strangers become one clean line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.errors import Refused, Unreachable
from mastodon_pipeline.foreign_text import MAX_LINE_CHARACTERS, clean_line

characters = st.characters() | st.characters(categories=["Cs", "Cc", "Cf", "Zs", "Zl", "Co"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("4.5.3", "4.5.3"),
        ("4.5 \ud800", "4.5 \N{REPLACEMENT CHARACTER}"),
        ("nul\0 bell\a", "nul\N{REPLACEMENT CHARACTER} bell\N{REPLACEMENT CHARACTER}"),
        ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
        ("two\r\n\u2028lines", "two lines"),
        ("\u202edrow", "\N{REPLACEMENT CHARACTER}drow"),
        ("日本語", "日本語"),
        (None, "None"),
        ("x" * 400, "x" * (MAX_LINE_CHARACTERS - 1) + "…"),
    ],
)
def test_line_is_printable_and_bounded(text: object, line: str) -> None:
    assert clean_line(text) == line


@given(st.text(characters) | st.text(characters, min_size=1).map(lambda text: text * 500))
def test_any_text_becomes_a_printable_line(text: str) -> None:
    line = clean_line(text)
    assert line.isprintable()
    assert len(line) <= MAX_LINE_CHARACTERS
    assert line.encode().decode() == line == clean_line(line)


@given(st.text(characters))
def test_errors_of_servers_have_clean_messages(text: str) -> None:
    """A reason phrase is the server's. Shows G6."""
    assert str(Unreachable(text)).isprintable()
    refused = Refused(503, text)
    assert str(refused).isprintable()
    assert refused.reason.isprintable()
