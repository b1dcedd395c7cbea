"""Guarantees and tests name each other."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from mastodon_pipeline_tests.docs.pages import DOCS, REPOSITORY, headings, inline_code, section

GUARANTEES = DOCS / "guarantees.md"
TESTS = REPOSITORY / "mastodon_pipeline_tests"
_NUMBER = re.compile(r"\bG\d+\b")
_HEADINGS = {
    match[0]: heading
    for heading in headings(GUARANTEES, 3)
    if (match := _NUMBER.match(heading)) is not None
}


def _docstrings(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@cache
def citing_files(numbers: re.Pattern[str] = _NUMBER) -> dict[str, set[str]]:
    """Return the test files by the guarantees, or other numbers, that their docstrings cite."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text()
        if path.parent != Path(__file__).parent and numbers.search(source):
            for docstring in _docstrings(source):
                for number in numbers.findall(docstring):
                    files[number].add(path.relative_to(TESTS).as_posix())
    return dict(files)


def test_guarantees_are_numbered_in_order() -> None:
    assert list(_HEADINGS) == [f"G{number}" for number in range(1, len(_HEADINGS) + 1)]


@pytest.mark.thorough
def test_every_cited_number_is_a_guarantee() -> None:
    unknown = {number: files for number, files in citing_files().items() if number not in _HEADINGS}
    assert not unknown


@pytest.mark.parametrize("number", _HEADINGS)
def test_a_guarantee_lists_exactly_the_test_files_that_cite_it(number: str) -> None:
    """Add the number to the docstring of a test that shows it, and its file to `Shown by`."""
    shown_by = section(GUARANTEES, _HEADINGS[number]).partition("**Shown by**")[2]
    listed = {path for path in inline_code(shown_by) if path.endswith(".py")}
    assert listed, f"no test shows {number}"
    assert listed == citing_files().get(number, set())


@pytest.mark.parametrize("number", _HEADINGS)
def test_a_guarantee_says_what_protects_it_and_what_it_leaves_out(number: str) -> None:
    text = section(GUARANTEES, _HEADINGS[number])
    assert "**Protected by**" in text
    assert "**Not promised:**" in text
