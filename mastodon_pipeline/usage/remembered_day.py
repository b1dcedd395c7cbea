"""The first day of the partitions, remembered in Dagster's key-value store.

By itself, since the webserver needs nothing else of the usage stage.
"""

from datetime import date, datetime

import dagster as dg
import msgspec

READ_AGAIN_SECONDS = 5.0
"""A process that lists partitions reads the day again after this."""
_KEY = "usage/first_day"


class FirstDay(msgspec.Struct, frozen=True):
    """The first day of the partitions, as the sensor remembers it."""

    day: date
    """UTC."""
    changed_at: datetime
    """UTC."""
    before: date | None = None
    """The first day until then; None if nothing was remembered."""


def load_first_day(instance: dg.DagsterInstance) -> FirstDay | None:
    """Return what is remembered; None if nothing is, or another version wrote it."""
    value = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    try:
        return msgspec.json.decode(value, type=FirstDay) if value else None
    except msgspec.MsgspecError:
        return None


def save_first_day(instance: dg.DagsterInstance, first_day: FirstDay) -> None:
    """Remember the first day, in place of the one before."""
    value = msgspec.json.encode(first_day).decode()
    instance.daemon_cursor_storage.set_cursor_values({_KEY: value})
