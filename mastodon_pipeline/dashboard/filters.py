"""The page's filters. They begin as its address says, and the address follows them."""

from collections.abc import Sequence
from datetime import date, timedelta

import streamlit as st

from mastodon_pipeline.dashboard.periods import NAMES
from mastodon_pipeline.dashboard.selection import (
    BOTS,
    Bots,
    Selection,
    parameters_of,
    selection_of,
)

_BOTS = {"with": "people and bots", "without": "people", "only": "bots"}
UNKNOWN = "unknown"


def choose(servers: Sequence[str], languages: Sequence[str], today: date) -> Selection:
    """Show the filters, and return what is chosen. `servers`, `languages`: what there is."""
    given = selection_of({name: st.query_params.get_all(name) for name in st.query_params})
    period = st.segmented_control(
        "Period",
        list(NAMES),
        default=given.period_name,
        format_func=NAMES.__getitem__,
        key="period",
        required=True,
    )
    first, last = given.first, given.last
    if period == "range":
        first, last = _choose_range(given, today)
    else:
        first = last = None
    with st.sidebar:
        chosen = Selection(
            period_name=period,
            first=first,
            last=last,
            servers=tuple(_choose("Servers", "server", servers, given.servers)),
            languages=tuple(
                "" if code == UNKNOWN else code
                for code in _choose(
                    "Languages",
                    "language",
                    [code or UNKNOWN for code in languages],
                    [code or UNKNOWN for code in given.languages],
                )
            ),
            bots=_choose_bots(given.bots),
        )
        st.caption("The page's address holds what you choose: copy it to share this view.")
    parameters = parameters_of(chosen)
    if parameters != parameters_of(given):
        st.query_params.from_dict(parameters)
    return chosen


def _choose_range(given: Selection, today: date) -> tuple[date, date]:
    default = (given.first or today - timedelta(days=6), given.last or today)
    days = st.date_input(
        "From and to (UTC days)", default, max_value=max(today, *default), key="days"
    )
    if isinstance(days, tuple) and len(days) == 2:
        return days
    return default  # the visitor has chosen the first of the two


def _choose(label: str, key: str, options: Sequence[str], given: Sequence[str]) -> list[str]:
    known = list(dict.fromkeys([*given, *options]))
    return st.multiselect(label, known, default=list(given), key=key, placeholder="all")


def _choose_bots(given: Bots) -> Bots:
    return st.segmented_control(
        "Accounts",
        list(BOTS),
        default=given,
        format_func=_BOTS.__getitem__,
        key="bots",
        required=True,
    )
