"""What the ledger remembers between two checks, in one object of the lake.

Kafka forgets, is wiped, or starts over; this does not. It is replaced only by what was made from it
(`Lake.put_in_place_of`), so two checks at once, or a person who accepts a loss meanwhile, lose
nothing of each other.
"""

import gzip
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import duckdb
import msgspec

from mastodon_pipeline.errors import BucketMissing, LedgerError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.listening.following.tally import SavedTally

Cell = tuple[str, int]
"""A source (base URL) and an hour of receiving (its start, UTC milliseconds)."""
Stage = str
"""Where records are missing: `acknowledged`, `landed`, `toots`, or `forgotten` with everything."""


class KnownTally(msgspec.Struct):
    """A tally, and how much of it must have landed."""

    latest: SavedTally
    due: int = 0
    """Acknowledged records that must have landed once the sink has committed `State.due_ends`."""
    judged: int = 0
    """Acknowledged records that must have landed by now."""
    topic_id: str = ""
    """Of the topic that had them when they were first seen."""


class FileGroup(msgspec.Struct, frozen=True):
    """What the landed files that were written in one hour hold."""

    files: dict[str, str]
    """Etags by path."""
    unreadable: dict[str, str]
    """Reasons by path."""
    counts: list[tuple[str, int, int, int]]
    """Source, hour of receiving, records as first landed, and records sent again by replay."""
    spans: list[tuple[int, int, int, int, int]]
    """Partition, first and last offset, first and last `ingested_at` (UTC milliseconds)."""


class Loss(msgspec.Struct, frozen=True):
    """Records that are missing."""

    stage: Stage
    source: str
    """The base URL of the server that was listened to."""
    hour: int
    """UTC milliseconds: of receiving, but of posting for `toots`."""
    records: int
    reason: str
    since: int
    """When the ledger first noticed, UTC milliseconds."""

    @property
    def name(self) -> str:
        """Identifies the loss, however many records it has by now."""
        return f"{self.stage}/{self.source.partition('://')[2]}/{format_hour(self.hour)}"


class Acceptance(msgspec.Struct, frozen=True):
    """A person knows of a loss, and nothing can be done about it."""

    records: int
    """How many were missing then; more than these are a new loss."""
    who: str
    why: str
    at: int
    """UTC milliseconds."""


class State(msgspec.Struct):
    """The ledger's memory."""

    topic_id: str = ""
    replaced_at: int = 0
    """When the ledger saw that the topic before it was gone, UTC milliseconds; 0: none was."""
    due_ends: dict[int, int] | None = None
    """The topic's end offsets after `KnownTally.due` was read; None if nothing is due."""
    tallies: dict[str, KnownTally] = {}
    groups: dict[int, FileGroup] = {}
    """By the hour in which the files were written, UTC milliseconds."""
    joint: dict[str, list[tuple[str, int, int, int]]] = {}
    """Counts of groups that may hold the same records, by the fingerprint of all their files."""
    tabled: dict[int, tuple[str, list[tuple[str, int]]]] = {}
    """By hour of posting: the versions compared, and how many toots of each source are missing."""
    losses: dict[str, Loss] = {}
    accepted: dict[str, Acceptance] = {}
    """By the losses' names."""
    checked_at: int = 0


class StoredState(msgspec.Struct, frozen=True):
    """The state, and the version of the object that it was read from."""

    state: State
    version: StoredFile | None
    bucket_exists: bool = True
    """The sink's job creates it; until then nothing can be remembered."""


def load_state(lake: Lake) -> StoredState:
    """Return the ledger's memory, an empty one if there is none.

    Raises LedgerError if the object is damaged.
    """
    path = lake.layout.ledger_state()
    try:
        version = next((file for file in lake.list_files(path) if file.path == path), None)
    except BucketMissing:
        return StoredState(State(), None, bucket_exists=False)
    if version is None:
        return StoredState(State(), None)
    try:
        ((content,),) = lake.connection.execute(
            query("ledger/read_state"), {"path": path}
        ).fetchall()
        state = msgspec.json.decode(gzip.decompress(content), type=State)
    except (OSError, EOFError, msgspec.MsgspecError, duckdb.InvalidInputException) as error:
        raise LedgerError(
            f"{path} is damaged ({error}): put it back from a backup, or delete it to begin a new"
            " ledger, which knows of no earlier loss"
        ) from None
    return StoredState(state, version)


def save_state(lake: Lake, stored: StoredState, state: State) -> bool:
    """Save the state in place of the stored one; return whether that was still there."""
    local = Path(lake.empty_record).with_name(f"{uuid4().hex}.gz")
    try:
        local.write_bytes(gzip.compress(msgspec.json.encode(state), 5))
        etag = lake.put_in_place_of(stored.version, lake.layout.ledger_state(), local)
    finally:
        local.unlink(missing_ok=True)
    return etag is not None


def format_hour(milliseconds: int) -> str:
    """Return an hour (UTC milliseconds) as `YYYY-MM-DD-HH`."""
    return format_time(milliseconds)[:13].replace(" ", "-")


def format_time(milliseconds: int) -> str:
    """Return a time in UTC milliseconds as `YYYY-MM-DD HH:MM`."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%F %H:%M}"
