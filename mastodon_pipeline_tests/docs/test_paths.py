"""Every file and folder that the docs name is there."""

import re
from pathlib import Path

import pytest

from mastodon_pipeline_tests.docs.pages import (
    DOCS,
    PAGES,
    REPOSITORY,
    inline_code,
    section,
    title,
)

_PATH = re.compile(
    r"(?:mastodon_pipeline|mastodon_pipeline_tests|infra|benchmarks|docs|notebooks)(?:/[\w.\-]+)*/?"
)
ARCHITECTURE = DOCS / "architecture.md"


def _missing(page: Path) -> list[str]:
    # The guarantees' test files are named from the tests' root.
    roots = (REPOSITORY, REPOSITORY / "mastodon_pipeline_tests")
    named = [code for code in inline_code(page.read_text()) if _PATH.fullmatch(code)]
    return [path for path in named if not any((root / path).exists() for root in roots)]


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_named_files_and_folders_exist(page: Path) -> None:
    missing = _missing(page)
    assert not missing, f"{title(page)} names what is not there: {missing}"


def test_architecture_lists_every_package() -> None:
    """A new folder needs a line in the table of folders."""
    named = {path.rstrip("/") for path in inline_code(section(ARCHITECTURE, "The folders"))}
    package = REPOSITORY / "mastodon_pipeline"
    folders = {
        init.parent.relative_to(REPOSITORY).as_posix()
        for pattern in ("*/__init__.py", "listening/*/__init__.py", "usage/*/__init__.py")
        for init in package.glob(pattern)
    }
    assert folders <= named, f"docs/architecture.md lacks {sorted(folders - named)}"
