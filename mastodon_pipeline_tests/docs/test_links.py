"""Links lead somewhere, pictures are used, and the README stays short."""

from pathlib import Path

import pytest

from mastodon_pipeline_tests.docs.pages import DOCS, PAGES, REPOSITORY, anchors, links, title

LONGEST_README = 120


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken, f"{title(page)} links to what is not there: {broken}"


def test_every_picture_is_shown_on_a_page() -> None:
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in links(page)
        if "://" not in link
    }
    assert set((DOCS / "images").iterdir()) <= shown


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in links(page)
        if "://" not in link
    }
    unreachable = set(PAGES) - linked - {REPOSITORY / "README.md"}
    assert not unreachable


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= LONGEST_README
