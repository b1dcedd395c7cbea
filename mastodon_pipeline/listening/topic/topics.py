"""The Kafka topics of the listening stage.

**Why a record's Kafka timestamp is its arrival.** The sink files records by it, and nothing that a
stranger claims, such as a post time, may decide how many files and writers the sink has. So the
broker stamps them (`LogAppendTime`), and where a broker does not let us say so, the producer does
as it sends them. With partition and offset it also identifies a record for good: a Kafka that lost
its data gives the offsets out again, but not the times.

**Why the toots' topic is bounded by size and not by age.** After a long outage of the sink all that
arrived meanwhile must still be there, however old it is. So `retention.ms=-1`, and
`retention.bytes` a partition (setting KAFKA_TOPIC_RETENTION_BYTES) bounds the disk. What protects
the records is the sink, seconds behind; size retention removes what fell further behind than that
many bytes.
"""

from mastodon_pipeline.kafka import NewTopic, ensure_topics, new_topic, set_topic_config
from mastodon_pipeline.settings import Settings

_SEGMENT_BYTES = 128 * 1024**2
_ARRIVAL_CONFIG = {"message.timestamp.type": "LogAppendTime"}
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
_TALLIES_CONFIG = {
    "cleanup.policy": "compact,delete",  # the ledger remembers what it has read
    "retention.ms": str(7 * 24 * 60 * 60 * 1000),
    "segment.bytes": str(16 * 1024**2),
}


def listening_topics(settings: Settings) -> tuple[NewTopic, ...]:
    """Return the topics of toots, dead letters, positions, tallies, for `kafka.ensure_topics`."""
    toots = {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": str(settings.kafka_topic_retention_bytes),
        "segment.bytes": str(_SEGMENT_BYTES),
        **_ARRIVAL_CONFIG,
    }
    return (
        new_topic(settings, settings.kafka_topic, settings.kafka_topic_partitions, toots),
        new_topic(settings, settings.dead_letter_topic, config=_DEAD_LETTERS_CONFIG),
        new_topic(settings, settings.positions_topic, config={"cleanup.policy": "compact"}),
        new_topic(settings, settings.tallies_topic, config=_TALLIES_CONFIG),
    )


def ensure_listening_topics(settings: Settings, *others: NewTopic) -> tuple[str, ...]:
    """Create the listening stage's topics, and `others`, where they do not exist; return which.

    Existing topics of toots and dead letters get their present configuration: older versions dated
    the former by post time, and bounded the latter by age alone. Raises KafkaUnavailable.
    """
    created = ensure_topics(settings, (*listening_topics(settings), *others))
    if settings.dead_letter_topic not in created:
        set_topic_config(settings, settings.dead_letter_topic, _DEAD_LETTERS_CONFIG)
    if settings.kafka_topic not in created:
        set_topic_config(settings, settings.kafka_topic, _ARRIVAL_CONFIG)
    return created
