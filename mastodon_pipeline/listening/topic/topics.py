"""The Kafka topics of the listening stage.

**Why the toots' topic is bounded by size and not by age.** A record's Kafka timestamp is the
toot's post time, and Kafka's time-based retention goes by record timestamps: a segment of old
toots (a replay, a gap filled after a week away) would be deleted within minutes of its arrival,
before the sink has read it. So `retention.ms=-1`, and `retention.bytes` a partition (setting
KAFKA_TOPIC_RETENTION_BYTES) bounds the disk. What protects the records is the sink, seconds
behind; size retention removes what fell further behind than that many bytes.
"""

from mastodon_pipeline.kafka import NewTopic, ensure_topics, set_topic_config
from mastodon_pipeline.settings import Settings

_SEGMENT_BYTES = 128 * 1024**2
_UNLIMITED_MS = 2**63 - 1
_FUTURE_MS = 60 * 60 * 1000
_DEAD_LETTERS_CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": str(30 * 24 * 60 * 60 * 1000),
    # What listeners put there is bounded as well (`DeadLetterLimits`); this bounds the disk.
    "retention.bytes": str(512 * 1024**2),
    "segment.bytes": str(32 * 1024**2),
    # Kafka Connect dates a dead letter as its record, by post time: one of an old toot would be
    # past its retention at once, and nothing would show since when letters come.
    "message.timestamp.type": "LogAppendTime",
}


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
            config=_DEAD_LETTERS_CONFIG,
        ),
        NewTopic(settings.positions_topic, num_partitions=1, config={"cleanup.policy": "compact"}),
    )


def ensure_listening_topics(settings: Settings, *others: NewTopic) -> tuple[str, ...]:
    """Create the listening stage's topics, and `others`, where they do not exist; return which.

    An existing dead-letter topic gets its present configuration: older versions bounded it by age
    alone. Raises KafkaUnavailable.
    """
    created = ensure_topics(settings, (*listening_topics(settings), *others))
    if settings.dead_letter_topic not in created:
        set_topic_config(settings, settings.dead_letter_topic, _DEAD_LETTERS_CONFIG)
    return created
