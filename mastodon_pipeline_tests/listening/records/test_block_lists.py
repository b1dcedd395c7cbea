"""Block lists in the formats that Mastodon exports."""

from pathlib import Path

import pytest

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.records.block_lists import BlockLists, read_block_lists

ADMIN_EXPORT = """#domain,#severity,#reject_media,#reject_reports,#public_comment,#obfuscate
bad.example,suspend,TRUE,TRUE,"spam, scams",FALSE
Quiet.Example.,silence,FALSE,FALSE,,FALSE
media.example,noop,TRUE,FALSE,,FALSE
bücher.example,suspend,FALSE,FALSE,,TRUE
"""
"""As Mastodon 4.5 writes it."""


def read(tmp_path: Path, *texts: str) -> BlockLists:
    paths = [tmp_path / f"{number}.csv" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return read_block_lists(paths)


def test_admin_export_blocks_what_is_suspended_or_silenced(tmp_path: Path) -> None:
    """By the names that servers have here. Shows P6."""
    lists = read(tmp_path, ADMIN_EXPORT)
    assert lists.domains == {"bad.example", "quiet.example", "xn--bcher-kva.example"}


@pytest.mark.parametrize(
    ("server", "blocked"),
    [
        ("bad.example", True),
        ("sub.bad.example", True),
        ("a.b.bad.example:8443", True),
        ("notbad.example", False),
        ("bad.example.org", False),
        ("example", False),
    ],
)
def test_domain_is_blocked_with_its_subdomains(tmp_path: Path, server: str, blocked: bool) -> None:
    """As Mastodon does it. Shows P6."""
    assert read(tmp_path, ADMIN_EXPORT).block("ann", server) is blocked


@pytest.mark.parametrize(
    "text",
    [
        "Account address,Hide notifications\nEve@bad.example,true\n",
        "eve@bad.example\n",
        "# people\n\n@eve@Bad.example\r\n",
        "\ufeffother.example\neve@bad.example",
    ],
)
def test_list_of_accounts_blocks_each_alone(tmp_path: Path, text: str) -> None:
    """Shows P6."""
    lists = read(tmp_path, text)
    assert lists.block("EVE", "bad.example")
    assert not lists.block("ann", "bad.example")


def test_several_lists_are_added_up(tmp_path: Path) -> None:
    lists = read(tmp_path, "a.example\n", "#domain,#severity\nb.example,suspend\n", "x@c.example")
    assert lists.block("x", "a.example")
    assert lists.block("x", "b.example")
    assert lists.block("x", "c.example")
    assert not lists.block("y", "c.example")


def test_header_alone_blocks_nobody(tmp_path: Path) -> None:
    assert not read(tmp_path, "#domain,#severity\n").block("ann", "a.example")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("a.example\nb example\n", "line 2: 'b example' is neither"),
        ("#domain,#severity\nb.example,kill\n", "line 2: 'kill' is no severity"),
        ("#domain,#severity\nb.example\n", "line 2: 'b.example' has no severity"),
        ("#domain,#severity\n,suspend\n", "line 2"),
        ("<!doctype html><title>404</title>", "line 1"),
        ("*e***.example", "line 1"),
        ("@example.org@\n", "line 1"),
        ('#domain\n"a.example\n', "line"),
        ("a.example\x00\n", "UTF-8"),
    ],
)
def test_broken_list_is_an_error_that_names_the_line(tmp_path: Path, text: str, words: str) -> None:
    """It never blocks nobody. Shows P6."""
    with pytest.raises(SettingsError) as error:
        read(tmp_path, "a.example", text)
    assert words in str(error.value)
    assert "1.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_list_is_an_error(tmp_path: Path) -> None:
    """Shows P6."""
    with pytest.raises(SettingsError, match="does not exist"):
        read_block_lists([tmp_path / "none.csv"])
    with pytest.raises(SettingsError, match="directory"):
        read_block_lists([tmp_path])
