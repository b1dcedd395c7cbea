"""The rate budget follows the headers of a server's responses."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from mastodon_pipeline.listening.client.rate_budget import RateBudget


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def delay_after(status: int, **headers: str) -> float:
    return delay_of(RateBudget(), status, **headers)


def delay_of(budget: RateBudget, status: int, **headers: str) -> float:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    budget.observe(status, CaseInsensitiveDict(named))
    return budget.delay()


@pytest.mark.parametrize("form", ["iso", "epoch"])
def test_429_waits_for_the_reset(form: str) -> None:
    """Mastodon sends ISO 8601, others epoch seconds; up to a tenth of jitter is added. Shows G7."""
    moment = in_seconds(100)
    iso = moment.isoformat().replace("+00:00", "Z")
    reset = iso if form == "iso" else str(int(moment.timestamp()))
    assert 90 < delay_after(429, X_RateLimit_Reset=reset) < 111


def test_later_of_retry_after_and_reset_counts() -> None:
    """They may disagree. Shows G7."""
    reset = in_seconds(50).isoformat()
    assert delay_after(429, X_RateLimit_Reset=reset, Retry_After="200") > 199
    assert delay_after(429, X_RateLimit_Reset=reset, Retry_After="1") > 45


def test_reset_is_read_by_the_servers_clock() -> None:
    """A server whose clock is an hour ahead does not make us wait an hour."""
    ahead = in_seconds(3600)
    date = format_datetime(ahead, usegmt=True)
    reset = (ahead + timedelta(seconds=30)).isoformat()
    assert 25 < delay_after(429, X_RateLimit_Reset=reset, Date=date) < 40


def test_429_without_a_usable_header_waits_a_minute() -> None:
    assert 59 < delay_after(429, X_RateLimit_Reset="soon", Retry_After="nan") < 67


def test_last_quarter_of_the_budget_is_spread_over_the_window() -> None:
    """A gap is filled fast, but without hitting the limit."""
    reset = in_seconds(100).isoformat()
    headers = {"X_RateLimit_Limit": "300", "X_RateLimit_Reset": reset}
    assert delay_after(200, X_RateLimit_Remaining="299", **headers) == 0
    assert 4 < delay_after(200, X_RateLimit_Remaining="20", **headers) < 6
    assert delay_after(200, X_RateLimit_Remaining="0", **headers) > 95


def test_server_without_headers_gets_mastodons_default_rate() -> None:
    """300 requests in 15 minutes are one in 3 s."""
    assert 2 < delay_after(200) <= 3


@pytest.mark.parametrize("status", [500, 502, 503])
def test_retry_after_of_a_server_under_maintenance_is_obeyed(status: int) -> None:
    """For every request, not for timelines only. Shows G7."""
    budget = RateBudget()
    budget.observe_refusal(status, CaseInsensitiveDict({"retry-after": "200"}))
    assert 199 < budget.delay() <= 220
    assert 199 < budget.refused_for() <= 220
    assert 199 < delay_after(status, Retry_After="200") <= 220


@pytest.mark.parametrize(
    "header", ["-1", "soon", "nan", "", "Mon, 99 Foo 2026", "\ud800", "9" * 500]
)
def test_nonsense_in_retry_after_is_no_pause_of_more_than_an_hour(header: str) -> None:
    assert delay_after(503, Retry_After=header) <= 1.1 * 3600


def test_refusal_that_asks_for_no_pause_delays_no_timeline() -> None:
    """It is noted where something else than a timeline was asked for."""
    budget = RateBudget()
    budget.observe_refusal(503, {})
    budget.observe_refusal(401, {"Retry-After": "200"})
    assert budget.delay() == budget.refused_for() == 0


@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from([200, 429, 503]))
def test_any_header_is_read_or_ignored(reset: str, date: str, status: int) -> None:
    names = ("X_RateLimit_Reset", "Retry_After", "X_RateLimit_Remaining", "X_RateLimit_Limit")
    assert delay_after(status, Date=date, **dict.fromkeys(names, reset)) <= 1.1 * 3600


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [("300", 900 / 150), ("200", 900 / 50), ("151", 900), ("150", 900), ("0", 900)],
)
def test_half_share_leaves_half_of_the_limit_to_others(remaining: str, seconds: float) -> None:
    """What is left of our half is spread over the rest of the window. Shows G7."""
    headers = {"X_RateLimit_Limit": "300", "X_RateLimit_Remaining": remaining}
    reset = in_seconds(900).isoformat()
    delay = delay_of(RateBudget(0.5), 200, **headers, X_RateLimit_Reset=reset)
    assert delay == pytest.approx(seconds, rel=0.05)


def test_half_share_of_an_unstated_limit_asks_half_as_often() -> None:
    assert delay_of(RateBudget(0.5), 200) == pytest.approx(2 * delay_after(200), rel=0.05)
