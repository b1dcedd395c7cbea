"""The periods that the page can show, each with the one before it. All times are UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Step = Literal["minute", "hour", "day"]
NAMES = {
    "1h": "last hour",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "range": "from, to",
}
"""What the page calls them."""
DEFAULT = "24h"
HOURLY_DAYS = 8
"""Longer periods are shown by day: an hour has a file of its own in the lake."""


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment to another, which is not in it."""

    since: datetime
    until: datetime

    def back(self, by: timedelta) -> "Span":
        """Return the span this much earlier."""
        return Span(self.since - by, self.until - by)

    def days(self) -> list[date]:
        """List the days that it touches."""
        first, last = self.since.date(), (self.until - timedelta(microseconds=1)).date()
        return [first + DAY * number for number in range((last - first).days + 1)]


@dataclass(frozen=True, slots=True)
class Period:
    """What is shown: a span, and the steps of its figures."""

    span: Span
    before: Span
    """As long as what has passed of it, a whole period earlier."""
    step: Step
    running: bool
    """It ends now, so its figures still grow."""

    @property
    def by_days(self) -> bool:
        """Whether it is whole days, which the daily tables count."""
        return self.span.since.time() == time()

    @property
    def length(self) -> timedelta:
        """From its start to its end."""
        return self.span.until - self.span.since


def named_period(name: str, now: datetime) -> Period:
    """Return the period of a name in `NAMES` but `range`, as of now."""
    if name == "1h":
        span = Span(now - HOUR, now)
        return Period(span, span.back(HOUR), "minute", True)
    if name == "24h":
        span = Span(_start_of_hour(now) - 23 * HOUR, now)
        return Period(span, span.back(DAY), "hour", True)
    days = int(name.removesuffix("d"))
    span = Span(start_of_day(now.date()) - (days - 1) * DAY, now)
    return Period(span, span.back(days * DAY), _step(days), True)


def period_of_days(first: date, last: date, now: datetime) -> Period:
    """Return the period from a day to another, both in it; what is yet to come is left out."""
    first, last = sorted((first, last))
    since, until = start_of_day(first), start_of_day(last) + DAY
    running = since <= now < until
    days = (last - first).days + 1
    span = Span(since, min(until, now) if running else until)
    return Period(span, span.back(days * DAY), _step(days), running)


def today(now: datetime) -> tuple[Span, Span]:
    """Return the day so far, and as much of the day before."""
    span = Span(start_of_day(now.date()), now)
    return span, span.back(DAY)


def this_week(now: datetime) -> tuple[Span, Span]:
    """Return the week so far, from Monday on, and as much of the week before."""
    monday = now.date() - timedelta(days=now.weekday())
    span = Span(start_of_day(monday), now)
    return span, span.back(7 * DAY)


def last_hour(now: datetime) -> tuple[Span, Span]:
    """Return the last sixty minutes, and the sixty before them."""
    span = Span(now - HOUR, now)
    return span, span.back(HOUR)


def start_of_day(day: date) -> datetime:
    """Return when a day begins."""
    return datetime.combine(day, time(), UTC)


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _step(days: int) -> Step:
    return "hour" if days <= HOURLY_DAYS else "day"
