"""The naming rule: a few words are banned as names, because they do not say what is in them.

The reader of a variable called `found` or `those` has to look up the line that assigned it; name it
after its content: `rows`, `report`, `reason`, `servers`.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from mastodon_pipeline.paths import REPOSITORY

BANNED = {"told", "said", "found", "kept", "heard", "one", "those"}
_BANNED = re.compile(rf"\b_*(?:{'|'.join(sorted(BANNED))})\b")
PACKAGES = ("mastodon_pipeline", "infra", "benchmarks", "mastodon_pipeline_tests")


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of every variable, parameter, attribute and function of a module."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield node.lineno, name


def banned_names(source: str) -> list[str]:
    """List the banned names, each with its line."""
    if not _BANNED.search(source):  # parsing takes most of the time
        return []
    return [
        f"{line}: {name}"
        for line, name in bound_names(ast.parse(source))
        if name.lstrip("_") in BANNED
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("package", PACKAGES)
def test_names_are_not_banned_words(package: str) -> None:
    names = {
        str(path.relative_to(REPOSITORY)): banned_names(path.read_text())
        for path in sorted((REPOSITORY / package).rglob("*.py"))
    }
    assert {path: lines for path, lines in names.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for one in rows: pass",
        "def f(told): pass",
        "self.kept = 1",
        "[x for those in rows]",
        "class A:\n    said: str",
        "class A:\n    @property\n    def kept(self): ...",
        "lambda heard: 1",
    ],
)
def test_naming_rule_covers_every_kind_of_name(source: str) -> None:
    assert banned_names(source)
