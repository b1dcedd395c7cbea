"""A name says what it holds: some words never do.

A variable called `found` or `those` sends its reader back to the line that filled it; call it by
the thing (`rows`, `report`, `reason`, `servers`).
"""

import ast
from collections.abc import Iterator

import pytest

from mastodon_pipeline.paths import REPOSITORY

UNSPEAKING = {"told", "said", "found", "kept", "heard", "one", "those"}
PACKAGES = (
    "mastodon_pipeline/schemas",
    "mastodon_pipeline/cli",
    "mastodon_pipeline/lake",
    "mastodon_pipeline/landing",
    "mastodon_pipeline/maintenance",
    "mastodon_pipeline/listening/supervising",
    "mastodon_pipeline/usage",
    "mastodon_pipeline_tests/listening/supervising",
    "mastodon_pipeline_tests/chaos",
    "mastodon_pipeline_tests/lake",
    "mastodon_pipeline_tests/landing",
    "mastodon_pipeline_tests/maintenance",
    "mastodon_pipeline_tests/usage",
)


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line and name of everything that a module names: variables, parameters, attributes."""
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


def unspeaking_names(source: str) -> list[str]:
    """The names that say nothing, each with its line."""
    return [
        f"{line}: {name}"
        for line, name in bound_names(ast.parse(source))
        if name.lstrip("_") in UNSPEAKING
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_names_say_what_they_hold(package: str) -> None:
    names = {
        str(path.relative_to(REPOSITORY)): unspeaking_names(path.read_text())
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
def test_the_naming_rule_sees_every_kind_of_name(source: str) -> None:
    assert unspeaking_names(source)
