"""What has landed, taken together, and which of the topic's offsets it holds."""

from dataclasses import dataclass
from datetime import datetime

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.landed import UnreadableFile
from mastodon_pipeline.lake.queries import query


@dataclass(frozen=True, slots=True)
class LandedToots:
    """The landed files taken together."""

    files: int = 0
    rows: int = 0
    """Duplicates included."""
    bytes: int = 0
    hours: int = 0
    """Post hours of which a file holds records."""
    newest_hour: datetime | None = None
    """The newest post hour that is not in the future, UTC; None if nothing has landed."""
    newest_file: datetime | None = None
    """When the newest file was written, UTC."""
    opened: int = 0
    """Files that had to be opened, since they are new."""
    unreadable: tuple[UnreadableFile, ...] = ()
    """Files that hold no records, or damaged ones."""


def landed_toots(lake: Lake) -> LandedToots:
    """Count what has landed, opening only new files.

    Raises ObjectStoreUnavailable and duckdb.Error as `index_landed` does.
    """
    opened = index_landed(lake)
    values = {"landed": lake.layout.landed(), "now": lake.landed.clock()}
    cursor = lake.connection.execute(query("landing/landed_totals"), values)
    names = [column[0] for column in cursor.description or ()]
    totals = dict(zip(names, cursor.fetchone() or (), strict=True))
    return LandedToots(**totals, opened=opened, unreadable=lake.landed.unreadable())


def index_landed(lake: Lake) -> int:
    """List all landed files and receipts; return how many had to be opened, since they are new.

    Raises:
        ObjectStoreUnavailable: the object store does not answer, or refuses.
        duckdb.Error: the object store failed while a file was read.
    """
    try:
        return lake.landed.refresh(whole=True).opened
    except BucketMissing:
        return 0  # nothing has landed yet: the sink's job creates the bucket


def load_ranges(lake: Lake, began: datetime | None = None, ended: datetime | None = None) -> None:
    """Fill the connection's table `landed_range` with landed records, and those removed.

    A row for each range of offsets: `kafka_partition`, `first_offset`, `last_offset`. Only records
    that Kafka took between two times (UTC), see `generations`.
    """
    lake.connection.execute(query("landing/landed_range"), {"began": began, "ended": ended})
