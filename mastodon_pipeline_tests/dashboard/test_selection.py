from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.dashboard.periods import NAMES
from mastodon_pipeline.dashboard.selection import (
    BOTS,
    Selection,
    parameters_of,
    selection_of,
)

names = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)
selections = st.builds(
    Selection,
    period_name=st.sampled_from([name for name in NAMES if name != "range"]),
    servers=st.lists(names, unique=True, max_size=5).map(tuple),
    languages=st.lists(names.filter(lambda n: n != "unknown"), unique=True, max_size=3).map(tuple),
    bots=st.sampled_from(BOTS),
)


def as_lists(parameters: dict[str, str | list[str]]) -> dict[str, list[str]]:
    """Return the parameters as a browser sends them."""
    return {name: v if isinstance(v, list) else [v] for name, v in parameters.items()}


@given(selections)
def test_address_of_a_view_gives_the_same_view(selection: Selection) -> None:
    assert selection_of(as_lists(parameters_of(selection))) == selection


def test_address_of_a_range_and_of_unknown_languages_gives_the_same_view() -> None:
    selection = Selection("range", date(2023, 2, 3), date(2023, 2, 9), languages=("", "en"))
    parameters = parameters_of(selection)
    assert parameters == {"from": "2023-02-03", "to": "2023-02-09", "language": ["unknown", "en"]}
    assert selection_of(as_lists(parameters)) == selection


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"period": ["century"], "bots": ["all"]},
        {"period": ["range"]},
        {"from": ["2026-11-31"], "to": ["2026-12-01"]},
        {"from": ["2026-11-01"]},
        {"server": ["", "\x00 "], "nonsense": ["1"]},
    ],
)
def test_what_makes_no_sense_in_an_address_is_as_if_it_was_not(
    parameters: dict[str, list[str]],
) -> None:
    assert selection_of(parameters) in (
        Selection(),
        Selection(servers=("\N{REPLACEMENT CHARACTER}",)),
    )
