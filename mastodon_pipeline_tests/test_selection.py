"""Modules that a selection of tests does not import."""

import pytest

from mastodon_pipeline_tests.support.selection import leaves_out

THOROUGH = "import pytest\n\npytestmark = pytest.mark.thorough\n"
OWN_STACK = """
pytestmark = [
    pytest.mark.integration,
    pytest.mark.own_stack,
]
"""
ONE_OF_SEVERAL = "@pytest.mark.own_stack\ndef test_it() -> None: ...\n"
UNMARKED = "def test_it(stack) -> None: ...\n"


@pytest.mark.parametrize(
    ("expression", "source"),
    [
        ("not integration and not thorough", THOROUGH),
        ("not own_stack and not takeover", OWN_STACK),
        ("own_stack and not takeover", THOROUGH),
        ("own_stack", UNMARKED),
    ],
)
def test_module_without_a_selected_test_is_left_out(expression: str, source: str) -> None:
    assert leaves_out(expression, source)


@pytest.mark.parametrize(
    ("expression", "source"),
    [
        ("", THOROUGH),
        ("not integration", THOROUGH),
        ("not own_stack", ONE_OF_SEVERAL),
        ("own_stack and not takeover", OWN_STACK),
        ("own_stack and not takeover", ONE_OF_SEVERAL),
        ("integration", UNMARKED),
        ("not (thorough and own_stack)", THOROUGH),
        ("not thorough or integration", THOROUGH),
    ],
)
def test_module_with_a_test_that_may_be_selected_is_imported(expression: str, source: str) -> None:
    assert not leaves_out(expression, source)
