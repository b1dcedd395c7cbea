"""What a visitor has chosen, as it stands in the page's address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

from mastodon_pipeline.dashboard.periods import (
    DEFAULT,
    NAMES,
    Period,
    named_period,
    period_of_days,
)
from mastodon_pipeline.foreign_text import clean_line

Bots = Literal["with", "without", "only"]
BOTS: tuple[Bots, ...] = get_args(Bots)
_MAX_VALUES = 300


@dataclass(frozen=True, slots=True)
class Selection:
    """Period, servers, languages, and whose toots. Nothing chosen means all of them."""

    period_name: str = DEFAULT
    first: date | None = None
    last: date | None = None
    """Both are there if the period is `range`."""
    servers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    """Codes; '' is unknown."""
    bots: Bots = "with"

    def period(self, now: datetime) -> Period:
        """Return the chosen period as of now."""
        if self.first is not None and self.last is not None:
            return period_of_days(self.first, self.last, now)
        return named_period(self.period_name, now)

    @property
    def by_toot(self) -> bool:
        """Whether something is chosen that only `toots` itself can answer for every figure."""
        return bool(self.servers or self.by_author)

    @property
    def by_author(self) -> bool:
        """Whether languages or bots are chosen, by which no table but `toots` counts."""
        return bool(self.languages or self.bots != "with")


def selection_of(parameters: Mapping[str, Sequence[str]]) -> Selection:
    """Return what an address says. What makes no sense there is as if it was not."""
    name = _last(parameters, "period")
    first, last = _day(_last(parameters, "from")), _day(_last(parameters, "to"))
    if first is None or last is None:
        first = last = None
    bots = _last(parameters, "bots")
    return Selection(
        period_name="range" if first else name if name in NAMES and name != "range" else DEFAULT,
        first=first,
        last=last,
        servers=_values(parameters, "server"),
        languages=tuple("" if v == "unknown" else v for v in _values(parameters, "language")),
        bots=bots if bots in BOTS else "with",
    )


def parameters_of(selection: Selection) -> dict[str, str | list[str]]:
    """Return the parameters of the selection's address; what is as by default is left out."""
    parameters: dict[str, str | list[str]] = {}
    if selection.first is not None and selection.last is not None:
        parameters |= {"from": f"{selection.first}", "to": f"{selection.last}"}
    elif selection.period_name != DEFAULT:
        parameters["period"] = selection.period_name
    if selection.servers:
        parameters["server"] = list(selection.servers)
    if selection.languages:
        parameters["language"] = [code or "unknown" for code in selection.languages]
    if selection.bots != "with":
        parameters["bots"] = selection.bots
    return parameters


def _values(parameters: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    values = (clean_line(value) for value in parameters.get(name, ()))
    return tuple(dict.fromkeys(value for value in values if value))[:_MAX_VALUES]


def _last(parameters: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(reversed(parameters.get(name, ()))), "")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
