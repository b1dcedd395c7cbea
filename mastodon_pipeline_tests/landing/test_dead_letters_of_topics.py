"""A topic that was made again gives out the same places twice, while its dead letters stay."""

from typing import cast

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from mastodon_pipeline.landing.dead_letters import SinkLetter, _sort
from mastodon_pipeline.landing.sink_progress import Place

TOPIC = "toots"
PLACE = (0, 5)


class Stored:
    """A message of the dead-letter topic."""

    def __init__(self, offset: int, headers: dict[str, str]) -> None:
        self._offset, self._headers = offset, headers

    def offset(self) -> int:
        return self._offset

    def headers(self) -> list[tuple[str, bytes]]:
        return [(name, value.encode()) for name, value in self._headers.items()]

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self._offset * 1000


def letter(offset: int) -> Stored:
    names = {"topic": TOPIC, "partition": "0", "offset": "5"}
    return Stored(offset, {f"__connect.errors.{name}": value for name, value in names.items()})


def note(offset: int) -> Stored:
    return Stored(offset, {"settled": "put back", "settled_partition": "0", "settled_offset": "5"})


def sort(*messages: Stored) -> tuple[dict[Place, SinkLetter], dict[Place, float | None]]:
    letters: dict[Place, SinkLetter] = {}
    settled: dict[Place, float | None] = {}
    for message in messages:
        _sort(cast(Message, message), TOPIC, letters, settled)
    return letters, settled


def test_note_settles_the_letter_and_dates_it() -> None:
    """By when the letter was written: that tells which topic it is of. Shows G10."""
    assert sort(letter(1), note(9)) == ({}, {PLACE: 1.0})


def test_letter_after_the_note_of_its_place_is_another_record() -> None:
    """Of the topic that was made again: it is open. Shows G10."""
    letters, settled = sort(letter(1), note(2), letter(7))
    assert letters[PLACE].offset == 7
    assert settled == {}


def test_letter_that_came_twice_is_open_since_the_first() -> None:
    """Shows G10."""
    letters, _ = sort(letter(1), letter(4))
    assert letters[PLACE].dead_at == 1.0
