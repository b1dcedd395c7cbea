"""The Kafka topics of the listening stage, made where they do not exist yet.

**Why the toots' topic is bounded by size and not by age.** A record's Kafka timestamp is the
toot's post time, and Kafka's time-based retention goes by record timestamps: a segment of old
toots (a replay, a gap filled after a week away) would be deleted within minutes of its arrival,
before the sink has read it. So `retention.ms=-1`, and `retention.bytes` a partition (setting
KAFKA_TOPIC_RETENTION_BYTES) bounds the disk. What protects the records is the sink, seconds
behind; size retention removes what fell further behind than that many bytes.
"""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # NewTopic lacks in its __all__
    AdminClient,
    NewTopic,
)

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.settings import Settings

_SEGMENT_BYTES = 128 * 1024**2
_FOREVER_MS = str(2**63 - 1)
_NO_LEADER_YET = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


def admin_client(settings: Settings) -> AdminClient:
    """A Kafka admin client that keeps librdkafka's connection messages off the terminal."""
    return AdminClient({**settings.kafka_client_config(), "log_level": 0})


def ensure_topics(settings: Settings, deadline_seconds: float = 15.0) -> tuple[str, ...]:
    """Makes the toots', dead-letter and positions topics; returns the names of those it made.

    Existing topics stay as they are. Raises KafkaUnavailable where the broker does not answer
    within `deadline_seconds`.
    """
    admin = admin_client(settings)
    wanted = [
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
                "message.timestamp.before.max.ms": _FOREVER_MS,
                "message.timestamp.after.max.ms": str(60 * 60 * 1000),
            },
        ),
        NewTopic(
            settings.dead_letter_topic,
            num_partitions=1,
            config={"cleanup.policy": "delete", "retention.ms": str(30 * 24 * 60 * 60 * 1000)},
        ),
        NewTopic(settings.positions_topic, num_partitions=1, config={"cleanup.policy": "compact"}),
    ]
    try:
        existing = admin.list_topics(timeout=deadline_seconds).topics
        missing = [topic for topic in wanted if topic.topic not in existing]
        if not missing:
            return ()
        made = []
        for name, future in admin.create_topics(missing, request_timeout=deadline_seconds).items():
            try:
                future.result(deadline_seconds)
                made.append(name)
            except KafkaException as error:
                # Another listener may have been a moment faster.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    except KafkaException as error:
        raise unreachable(settings, error) from None
    return tuple(made)


def bounds(
    consumer: Consumer, partition: TopicPartition, deadline_seconds: float
) -> tuple[int, int]:
    """The partition's first offset and the one after its last.

    A topic that was made a moment ago has no leader yet, and its broker says so: asked again until
    the deadline. Raises KafkaException.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            low, end = consumer.get_watermark_offsets(partition, timeout=deadline_seconds)
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return low, end


def unreachable(settings: Settings, error: KafkaException) -> KafkaUnavailable:
    """A client's error as one line that a person can act on."""
    return KafkaUnavailable(
        f"Kafka at {settings.kafka_bootstrap_servers} does not answer ({error.args[0].str()}); "
        "start the native stack with `make up`, or set KAFKA_BOOTSTRAP_SERVERS"
    )
