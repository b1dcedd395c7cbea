"""Copies the listeners' positions into the lake, once what they cover has landed.

`connector_supervisor` calls this at each tick: the copy is then some half a minute behind Kafka's,
which is what is read again after a loss of Kafka's data. See `listening.topic.landed_positions`.

**What can be lost here:** if the bucket is deleted, and Kafka's data as well before all has landed
again, both copies of those toots are gone. `every_toot_is_accounted_for` then says how many
Dagster's event log knew of.
"""

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.kafka import open_consumer, read, topic_id
from mastodon_pipeline.landing.dead_letters import SinkLetter, read_sink_letters
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.landed_positions import (
    load_landed_positions,
    save_landed_positions,
)
from mastodon_pipeline.listening.topic.positions import read_positions
from mastodon_pipeline.settings import Settings

_KAFKA_SECONDS = 5.0


def keep_landed_positions(settings: Settings) -> None:
    """Take up the positions that have landed since, and remember the present ones until they have.

    A good record in the sink's dead letters has not landed, though the sink has committed it: until
    it was put back, and all that is in the topic by then has landed, no position is taken up.

    Raises KafkaUnavailable, ObjectStoreUnavailable, or SettingsError if there are no credentials.
    """
    try:
        copy, version = load_landed_positions(settings)
    except BucketMissing:
        return  # the sink's job creates it
    before = msgspec.json.encode(copy)
    present = topic_id(settings, settings.kafka_topic, _KAFKA_SECONDS) or ""
    positions = read_positions(settings, present)
    progress = sink_progress(settings, _KAFKA_SECONDS)  # later: its ends cover the positions
    if _holds_a_record(settings, read_sink_letters(settings, _KAFKA_SECONDS).unsettled):
        copy.drop_waiting()
    elif not copy.settle_waiting(present, {p.partition: p.committed for p in progress}):
        return
    else:
        copy.waiting, copy.topic_id = positions, present
        copy.ends = {partition.partition: partition.end for partition in progress}
    if msgspec.json.encode(copy) != before:
        save_landed_positions(settings, copy, version)


def _holds_a_record(settings: Settings, letters: Iterable[SinkLetter]) -> bool:
    """Return whether one of the letters is a record after all."""
    unsettled = {letter.offset for letter in letters}
    if not unsettled:
        return False
    with open_consumer(settings) as consumer:
        ranges = {0: range(min(unsettled), max(unsettled) + 1)}
        for message in read(consumer, settings.dead_letter_topic, ranges, _KAFKA_SECONDS):
            if message.offset() in unsettled:
                with suppress(ValueError):
                    record = decode(message.value() or b"")
                    if record.uri or record.status_id:
                        return True
    return False
