"""The Kafka topics of the listening stage.

**Why the toots' topic is bounded by size and not by age.** A record's Kafka timestamp is the
toot's post time, and Kafka's time-based retention goes by record timestamps: a segment of old
toots (a replay, a gap filled after a week away) would be deleted within minutes of its arrival,
before the sink has read it. So `retention.ms=-1`, and `retention.bytes` a partition (setting
KAFKA_TOPIC_RETENTION_BYTES) bounds the disk. What protects the records is the sink, seconds
behind; size retention removes what fell further behind than that many bytes.
"""

from mastodon_pipeline.kafka import NewTopic
from mastodon_pipeline.settings import Settings

_SEGMENT_BYTES = 128 * 1024**2
_UNLIMITED_MS = 2**63 - 1
_FUTURE_MS = 60 * 60 * 1000
_DEAD_LETTERS_MS = 30 * 24 * 60 * 60 * 1000


def listening_topics(settings: Settings) -> tuple[NewTopic, ...]:
    """Return the topics of toots, dead letters and positions, for `kafka.ensure_topics`."""
    return (
        NewTopic(
            settings.kafka_topic,
            num_partitions=settings.kafka_topic_partitions,
            config={
                "cleanup.policy": "delete",
                "retention.ms": "-1",
                "retention.bytes": str(settings.kafka_topic_retention_bytes),
                "segment.bytes": str(_SEGMENT_BYTES),
                "message.timestamp.type": "CreateTime",
                # Post times lie in the past as far as authors claim, and minutes in the future.
                "message.timestamp.before.max.ms": str(_UNLIMITED_MS),
                "message.timestamp.after.max.ms": str(_FUTURE_MS),
            },
        ),
        NewTopic(
            settings.dead_letter_topic,
            num_partitions=1,
            config={"cleanup.policy": "delete", "retention.ms": str(_DEAD_LETTERS_MS)},
        ),
        NewTopic(settings.positions_topic, num_partitions=1, config={"cleanup.policy": "compact"}),
    )
