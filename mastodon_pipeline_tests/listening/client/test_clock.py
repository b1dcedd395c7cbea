"""This machine's clock is compared with the times in servers' responses."""

from email.utils import formatdate

import pytest

from mastodon_pipeline.listening.client.clock import clock_difference, wrong_clock

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "difference"),
    [
        ({"Date": formatdate(NOW, usegmt=True)}, 0.0),
        ({"Date": formatdate(NOW + 28_800, usegmt=True)}, -28_800.0),
        ({"Date": formatdate(NOW - 60, usegmt=True), "Age": "55"}, 5.0),
        ({"Date": formatdate(NOW, usegmt=True), "Age": "-1e300"}, 0.0),
        ({"Date": formatdate(NOW, usegmt=True), "Age": "nan"}, None),
        ({"Date": formatdate(NOW, usegmt=True), "Age": "old"}, None),
        ({"Date": "yesterday"}, None),
        ({"Date": "Thu, 99 Foo 99999999999 00:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_difference_is_read_from_the_headers(
    headers: dict[str, str], difference: float | None
) -> None:
    assert clock_difference(headers, NOW) == difference


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([], ""),
        ([None, None], ""),
        ([119.0], ""),
        ([28_800.0], "480 min ahead of that of the only server asked"),
        ([None, -28_800.0, -28_790.0], "480 min behind those of 2 servers"),
        ([1.0, -2.0, 86_400.0], ""),
    ],
)
def test_median_of_the_servers_counts(differences: list[float | None], words: str) -> None:
    """A single server among several may be wrong itself."""
    assert words in wrong_clock(differences)
    assert bool(words) == bool(wrong_clock(differences))
