"""The privacy page's promises and tests name each other."""

import re

from mastodon_pipeline_tests.docs.pages import DOCS, section
from mastodon_pipeline_tests.docs.test_guarantees import citing_files

PRIVACY = DOCS / "privacy.md"
_ROW = re.compile(r"^\| (P\d+) \| .+ \| (.+) \|$", re.MULTILINE)


def test_a_promise_lists_exactly_the_test_files_that_cite_it() -> None:
    """Add the number to the docstring of a test that shows it, and its file to the table."""
    listed = {
        number: set(re.findall(r"`([^`]+\.py)`", files))
        for number, files in _ROW.findall(section(PRIVACY, "Promises"))
    }
    assert list(listed) == [f"P{number}" for number in range(1, len(listed) + 1)]
    assert listed == citing_files(re.compile(r"\bP\d+\b"))


def test_the_template_and_the_privacy_page_lead_to_each_other() -> None:
    template = DOCS / "privacy-notice.md"
    assert f"({template.name})" in PRIVACY.read_text()
    assert f"({PRIVACY.name})" in template.read_text()
