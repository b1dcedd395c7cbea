"""A person accepts that offsets are lost: `landed_toots_complete` is green again, until more are.

One number counts them all: what is missing today is removed from Kafka some day, or lost with its
topic, and stays the same loss.
"""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import duckdb
import msgspec

from mastodon_pipeline.errors import BucketMissing, LedgerError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query


class AcceptedOffsets(msgspec.Struct, frozen=True):
    """How many lost offsets a person knows of, and why nothing can be done about them."""

    records: int = 0
    who: str = ""
    why: str = ""
    at: int = 0
    """UTC milliseconds."""


def load_accepted_offsets(lake: Lake) -> AcceptedOffsets:
    """Return what was accepted last; nothing if nothing ever was.

    Raises LedgerError if the object is damaged.
    """
    return _load(lake)[0]


def accept_offsets(lake: Lake, records: int, who: str, why: str) -> None:
    """Accept that so many offsets are lost, those accepted before among them.

    Raises LedgerError if others accept at the same time.
    """
    _, version = _load(lake)
    accepted = AcceptedOffsets(records, who, why, int(datetime.now(UTC).timestamp() * 1000))
    local = Path(lake.empty_record).with_name(f"{uuid4().hex}.json")
    try:
        local.write_bytes(msgspec.json.encode(accepted))
        if not lake.put_in_place_of(version, lake.layout.accepted_offsets(), local):
            raise LedgerError("somebody accepted offsets just now: look again")
    finally:
        local.unlink(missing_ok=True)


def _load(lake: Lake) -> tuple[AcceptedOffsets, StoredFile | None]:
    path = lake.layout.accepted_offsets()
    try:
        version = next((file for file in lake.list_files(path) if file.path == path), None)
    except BucketMissing:
        return AcceptedOffsets(), None
    if version is None:
        return AcceptedOffsets(), None
    try:
        ((content,),) = lake.connection.execute(
            query("landing/read_accepted_offsets"), {"path": path}
        ).fetchall()
        return msgspec.json.decode(content, type=AcceptedOffsets), version
    except (msgspec.MsgspecError, duckdb.InvalidInputException) as error:
        raise LedgerError(f"{path} is damaged ({error}): delete it, and accept again") from None
