"""The documentation as data: pages, headings, links, code."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), REPOSITORY / "notebooks" / "README.md"]
)
PAGES = [page for page in PAGES if page.exists()]

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+?)$", re.MULTILINE)
_PICTURE = re.compile(r'<[^>]+ src(?:set)?="([^"]+)"')
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_INDENTED = re.compile(r"^ {4}(.+)$", re.MULTILINE)


def title(page: Path) -> str:
    """Return a page's path from the repository's root, for messages."""
    return page.relative_to(REPOSITORY).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the fragments by which GitHub reaches a page's headings."""
    text = _FENCE.sub("", page.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")
        for _, heading in _HEADING.findall(text)
    }


def headings(page: Path, level: int) -> list[str]:
    """Return a page's headings of one level, in order."""
    return [heading for marks, heading in _HEADING.findall(page.read_text()) if len(marks) == level]


def section(page: Path, heading: str) -> str:
    """Return the text below a heading, up to the next one of its level or above."""
    text = page.read_text()
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert match is not None, f"{title(page)} has no heading {heading!r}"
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    text = page.read_text()
    return [*_LINK.findall(text), *_PICTURE.findall(text)]


def inline_code(text: str) -> list[str]:
    """Return what stands between backticks on one line."""
    return _CODE.findall(_FENCE.sub("", text))


def commands(page: Path) -> list[str]:
    """Return a page's commands: indented lines and inline code."""
    text = page.read_text()
    return [*_INDENTED.findall(text), *inline_code(text)]
