from datetime import UTC, date, datetime, timedelta

import pytest

from mastodon_pipeline.dashboard.periods import (
    NAMES,
    Span,
    last_hour,
    named_period,
    period_of_days,
    this_week,
    today,
)

NOW = datetime(2026, 11, 26, 20, 17, 30, tzinfo=UTC)  # a Thursday


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """Return a moment of November 2026."""
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "range"])
def test_named_period_runs_and_is_as_long_as_the_one_before(name: str) -> None:
    period = named_period(name, NOW)
    assert period.running
    assert period.span.until == NOW
    assert period.before.until - period.before.since == period.length
    assert period.before.until <= period.span.since + timedelta(days=90)
    assert period.before.since < period.span.since


def test_last_day_begins_with_a_whole_hour() -> None:
    assert named_period("24h", NOW).span.since == at(25, 21)
    assert named_period("24h", NOW).step == "hour"


def test_week_and_month_are_whole_days_that_end_today() -> None:
    assert named_period("7d", NOW).span.since == at(20)
    assert named_period("7d", NOW).step == "hour"
    assert named_period("30d", NOW).span.since == datetime(2026, 10, 28, tzinfo=UTC)
    assert named_period("30d", NOW).step == "day"
    assert named_period("30d", NOW).by_days


def test_days_of_the_past_do_not_run() -> None:
    period = period_of_days(date(2026, 11, 12), date(2026, 11, 10), NOW)
    assert period.span == Span(at(10), at(13))
    assert period.before == Span(at(7), at(10))
    assert not period.running


def test_range_up_to_today_runs_until_now() -> None:
    period = period_of_days(date(2026, 11, 25), date(2026, 11, 26), NOW)
    assert period.span == Span(at(25), NOW)
    assert period.before == Span(at(23), NOW - timedelta(days=2))
    assert period.running


def test_today_week_and_hour_are_compared_with_as_much_of_the_one_before() -> None:
    assert today(NOW) == (Span(at(26), NOW), Span(at(25), at(25, 20, 17, 30)))
    assert this_week(NOW) == (Span(at(23), NOW), Span(at(16), at(19, 20, 17, 30)))
    assert last_hour(NOW)[1] == Span(at(26, 18, 17, 30), at(26, 19, 17, 30))


def test_days_of_a_span_leave_out_one_that_it_only_reaches() -> None:
    assert Span(at(25), at(26)).days() == [date(2026, 11, 25)]
    assert Span(at(25, 23), at(26, 0, 1)).days() == [date(2026, 11, 25), date(2026, 11, 26)]
