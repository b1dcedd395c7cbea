"""What a topic says of itself while it is being made."""

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mastodon_pipeline.listening.topic.topics import bounds

PARTITION = TopicPartition("t", 0)


class YoungTopic:
    """The part of a consumer that is asked; refuses a number of times."""

    def __init__(self, refusals: int, code: int) -> None:
        self.refusals = refusals
        self._code = code

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        if self.refusals:
            self.refusals -= 1
            raise KafkaException(KafkaError(self._code))
        return 3, 7


def test_a_topic_without_a_leader_yet_is_asked_again() -> None:
    """A broker under load takes a moment between making a topic and leading it."""
    topic = YoungTopic(2, KafkaError.NOT_LEADER_FOR_PARTITION)
    assert bounds(cast(Consumer, topic), PARTITION, deadline_seconds=10) == (3, 7)
    assert topic.refusals == 0


@pytest.mark.parametrize(
    ("code", "seconds"),
    [(KafkaError.NOT_LEADER_FOR_PARTITION, 0.2), (KafkaError._TRANSPORT, 10)],
    ids=["no leader until the deadline", "no broker"],
)
def test_what_does_not_mend_itself_is_told(code: int, seconds: float) -> None:
    """The caller makes a line of it that a person can act on."""
    with pytest.raises(KafkaException):
        bounds(cast(Consumer, YoungTopic(1000, code)), PARTITION, deadline_seconds=seconds)
