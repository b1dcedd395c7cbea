"""The budget follows the server's own answers."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from requests.structures import CaseInsensitiveDict

from mastodon_pipeline.listening.client.rate_budget import RateBudget


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def delay_after(status: int, **headers: str) -> float:
    budget = RateBudget()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    budget.observe(status, CaseInsensitiveDict(named))
    return budget.delay()


@pytest.mark.parametrize("form", ["iso", "epoch"])
def test_a_429_waits_for_the_reset(form: str) -> None:
    """Mastodon writes ISO 8601, others epoch seconds; a tenth of jitter on top."""
    moment = in_seconds(100)
    iso = moment.isoformat().replace("+00:00", "Z")
    reset = iso if form == "iso" else str(int(moment.timestamp()))
    assert 90 < delay_after(429, X_RateLimit_Reset=reset) < 111


def test_the_later_of_both_headers_counts() -> None:
    """Retry-After and the reset may disagree."""
    reset = in_seconds(50).isoformat()
    assert delay_after(429, X_RateLimit_Reset=reset, Retry_After="200") > 199
    assert delay_after(429, X_RateLimit_Reset=reset, Retry_After="1") > 45


def test_the_reset_is_read_on_the_servers_clock() -> None:
    """A server whose clock is an hour ahead does not make us wait an hour."""
    ahead = in_seconds(3600)
    date = format_datetime(ahead, usegmt=True)
    reset = (ahead + timedelta(seconds=30)).isoformat()
    assert 25 < delay_after(429, X_RateLimit_Reset=reset, Date=date) < 40


def test_a_429_that_says_nothing_waits_a_minute() -> None:
    """Or that says nonsense."""
    assert 59 < delay_after(429, X_RateLimit_Reset="soon", Retry_After="nan") < 67


def test_plenty_left_is_no_delay_and_little_left_is_spread() -> None:
    """A gap is filled fast, but the window's end is not run into."""
    reset = in_seconds(100).isoformat()
    headers = {"X_RateLimit_Limit": "300", "X_RateLimit_Reset": reset}
    assert delay_after(200, X_RateLimit_Remaining="299", **headers) == 0
    assert 4 < delay_after(200, X_RateLimit_Remaining="20", **headers) < 6
    assert delay_after(200, X_RateLimit_Remaining="0", **headers) > 95


def test_a_server_without_headers_is_asked_as_mastodon_would_allow() -> None:
    """300 requests in 15 minutes are one in 3 s."""
    assert 2 < delay_after(200) <= 3
