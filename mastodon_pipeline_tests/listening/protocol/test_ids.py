"""Status ids are opaque, but some contain a time."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.protocol.ids import later, listed_at, moved_back

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


@pytest.mark.parametrize("status_id", ["0", "4711", "9hUzS0tSEgqMDZ2zYe"])
def test_id_without_a_time_is_not_moved(status_id: str) -> None:
    """Which ids come before it is unknown."""
    assert moved_back(status_id, 600_000, NOW) == status_id


@pytest.mark.parametrize("milliseconds", [1, 60_000, 600_000])
def test_ulid_is_moved_back_in_time(milliseconds: int) -> None:
    """The result sorts before every ULID of its millisecond."""
    moved = moved_back("01ARYZ6S41TSV4RRFFQ69G5FAV", milliseconds, NOW)
    assert listed_at(moved, NOW) == 1_469_918_176_385 - milliseconds
    assert moved.endswith("0" * 16)
    assert moved < "01ARYZ6S41TSV4RRFFQ69G5FAV"


SNOWFLAKE = str(1_700_000_000_000 << 16)
LATER_SNOWFLAKE = str(1_700_000_001_000 << 16)
EARLIER_ULID = "01ARYZ6S41TSV4RRFFQ69G5FAV"


@pytest.mark.parametrize(
    ("earlier", "last"),
    [
        ("", "0"),
        ("9", "10"),
        (SNOWFLAKE, LATER_SNOWFLAKE),
        (EARLIER_ULID, SNOWFLAKE),
        ("x" * 300, SNOWFLAKE),
        ("9" * 40, SNOWFLAKE),
        ("0", EARLIER_ULID),
        ("9hUzS0tSEgqMDZ2zYe", "9hUzS0tSEgqMDZ2zYf"),
    ],
)
def test_later_of_two_ids_never_hides_what_comes_after(earlier: str, last: str) -> None:
    """A server that changes its software, and one odd id that is longer than all others."""
    assert later(earlier, last) == later(last, earlier) == last


@given(st.lists(st.text(max_size=30) | st.integers(0, 2**63).map(str), min_size=1))
def test_later_is_one_of_the_two_in_any_order(ids: list[str]) -> None:
    for left in ids:
        for right in ids:
            assert later(left, right) == later(right, left)
            assert later(left, right) in (left, right)
