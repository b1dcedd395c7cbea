"""The changelog has a section for the version that is built."""

import re
from importlib.metadata import version

from mastodon_pipeline_tests.docs.pages import REPOSITORY, headings

CHANGELOG = REPOSITORY / "CHANGELOG.md"
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Known"}


def test_changelog_has_the_current_version_below_unreleased() -> None:
    first, *releases = headings(CHANGELOG, 2)
    assert first == "[Unreleased]"
    assert re.match(
        rf"\[{re.escape(version('mastodon-pipeline'))}\] - \d{{4}}-\d\d-\d\d$", releases[0]
    )


def test_changelog_uses_the_sections_of_keep_a_changelog() -> None:
    assert set(headings(CHANGELOG, 3)) <= SECTIONS
