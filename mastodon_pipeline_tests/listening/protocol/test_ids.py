"""Status ids are opaque, but some contain a time."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.protocol.ids import listed_at, moved_back

NOW = 1_780_000_000_000
DAY = 24 * 60 * 60 * 1000


@pytest.mark.parametrize("sequence", [0, 1, 0xFFFF])
def test_snowflake_contains_its_milliseconds(sequence: int) -> None:
    """Whatever its lower 16 bits are."""
    assert listed_at(str(NOW << 16 | sequence), NOW) == NOW


def test_ulid_contains_its_milliseconds() -> None:
    """The example of the ULID specification's own implementation: 2016-07-30."""
    assert listed_at("01ARYZ6S41TSV4RRFFQ69G5FAV", NOW) == 1_469_918_176_385


@pytest.mark.parametrize(
    "status_id",
    [
        "",
        "7",
        "4711",
        "9hUzS0tSEgqMDZ2zYe",
        "٣" * 18,
        "01aryz6s41tsv4rrffq69g5fav",
        "01ARYZ6S41TSV4RRFFQ69G5FA",
        str((NOW + DAY + 1) << 16),
        "9" * 20,
        "7" + "Z" * 25,
    ],
)
def test_other_ids_contain_no_time(status_id: str) -> None:
    """A counter, Pleroma's ids, other digits, another length, an impossible time."""
    assert listed_at(status_id, NOW) is None


@given(st.one_of(st.text(), st.text(string.digits, min_size=14, max_size=22)))
def test_time_of_any_id_is_plausible(status_id: str) -> None:
    at = listed_at(status_id, NOW)
    assert at is None or 1_451_606_400_000 <= at <= NOW + DAY


def test_snowflake_is_moved_back_in_time() -> None:
    """By 0 ms it stays the same."""
    status_id = str(NOW << 16 | 5)
    assert listed_at(moved_back(status_id, 600_000, NOW), NOW) == NOW - 600_000
    assert moved_back(status_id, 0, NOW) == status_id


@pytest.mark.parametrize("status_id", ["0", "4711", "01ARYZ6S41TSV4RRFFQ69G5FAV"])
def test_id_that_is_not_a_snowflake_is_not_moved(status_id: str) -> None:
    """Which ids come before it is unknown."""
    assert moved_back(status_id, 600_000, NOW) == status_id
