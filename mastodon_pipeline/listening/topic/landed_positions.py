"""The positions once more, in the lake: only as far as what they cover has landed.

Kafka's own copy is lost with Kafka's data, and it runs ahead of the sink: what it covers may be in
Kafka alone. A position of this copy covers landed toots only. So a listener that goes on from it
reads again all that Kafka had acknowledged and lost, as far as the servers' timelines have it.

`landing.keeping_positions` writes it. **What can be lost here:** the first toots of a server that
is followed since less than a minute; what no timeline shows, which is edits, deletes, and toots
that were deleted meanwhile.
"""

import gzip
from collections.abc import Collection, Mapping
from contextlib import closing

import msgspec
from botocore.exceptions import ClientError

from mastodon_pipeline.errors import BucketMissing, SettingsError
from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.settings import Settings

_REPLACED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}


class LandedPositions(msgspec.Struct):
    """Positions by `feed_key`."""

    landed: dict[str, SavedPosition] = {}
    waiting: dict[str, SavedPosition] = {}
    """Landed once the sink has committed `ends` of the topic `topic_id`."""
    ends: dict[int, int] = {}
    topic_id: str = ""

    def settle_waiting(self, topic: str, committed: Mapping[int, int]) -> bool:
        """Take up what has landed by now; return whether nothing waits any more.

        `committed`: the sink's offsets in the topic with this id. What waits in a topic that is
        gone never lands as such: of its feeds only since when they are wanted is kept.
        """
        if self.topic_id == topic and self.ends:
            if any(committed.get(number, 0) < end for number, end in self.ends.items()):
                return False
            self.landed |= self.waiting
        self.drop_waiting()
        return True

    def drop_waiting(self) -> None:
        """Forget what waits, but for since when its feeds are wanted."""
        self.landed = _beginnings(self.waiting) | self.landed
        self.waiting, self.ends = {}, {}


def resume_from_landed(settings: Settings, feeds: Collection[str]) -> dict[str, SavedPosition]:
    """Return the landed positions of these feeds; a feed that was never followed has none.

    Raises ObjectStoreUnavailable.
    """
    try:
        copy, _ = load_landed_positions(settings)
    except (BucketMissing, SettingsError):  # no lake, or none yet
        return {}
    positions = _beginnings(copy.waiting) | copy.landed
    return {
        feed: msgspec.structs.replace(positions[feed], from_landed=True)
        for feed in feeds
        if feed in positions
    }


def load_landed_positions(settings: Settings) -> tuple[LandedPositions, str | None]:
    """Return the copy in the lake, and its version; an empty one and None if there is none.

    A damaged one is empty, too: it is written again within a minute.

    Raises ObjectStoreUnavailable, or SettingsError if there are no credentials.
    """
    layout = Layout.of(settings)
    with closing(s3_client(settings)) as s3, object_store_errors(settings):
        try:
            stored = s3.get_object(
                Bucket=settings.s3_bucket, Key=layout.key(layout.landed_positions())
            )
            content = stored["Body"].read()
        except s3.exceptions.NoSuchKey:
            return LandedPositions(), None
    try:
        copy = msgspec.json.decode(gzip.decompress(content), type=LandedPositions)
    except (OSError, EOFError, msgspec.MsgspecError):
        copy = LandedPositions()
    return copy, stored["ETag"]


def save_landed_positions(settings: Settings, copy: LandedPositions, version: str | None) -> bool:
    """Save the copy in place of this version; return whether that was still there.

    Raises ObjectStoreUnavailable, or SettingsError if there are no credentials.
    """
    layout = Layout.of(settings)
    with closing(s3_client(settings)) as s3, object_store_errors(settings):
        try:
            s3.put_object(
                Bucket=settings.s3_bucket,
                Key=layout.key(layout.landed_positions()),
                Body=gzip.compress(msgspec.json.encode(copy), 5),
                **({"IfMatch": version} if version else {"IfNoneMatch": "*"}),  # type: ignore[arg-type]
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _REPLACED:
                return False
            raise
    return True


def _beginnings(positions: Mapping[str, SavedPosition]) -> dict[str, SavedPosition]:
    """Return the positions as they were before anything was read."""
    return {
        feed: SavedPosition(instance=position.instance, wanted_since_ms=position.wanted_since_ms)
        for feed, position in positions.items()
    }
