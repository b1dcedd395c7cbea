"""How far this machine's clock is from those of servers, by the times in their responses."""

import math
import statistics
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime

MAX_DIFFERENCE_SECONDS = 120.0
"""A toot whose time lies further ahead is taken for a wrong clock's, see `record.py`."""
_MAX_AGE_SECONDS = 86_400.0
_NO_TIME = (ValueError, TypeError, OverflowError, IndexError)
"""What the standard library raises for a header that is no time."""


def clock_difference(headers: Mapping[str, str], now: float) -> float | None:
    """Return by how many seconds `now` is ahead of a response's time; None if it states none.

    `headers`: any case-insensitive mapping. A cached response's age is taken into account.
    """
    try:
        stated = parsedate_to_datetime(headers.get("Date", "")).timestamp()
        age = min(max(float(headers.get("Age", 0)), 0.0), _MAX_AGE_SECONDS)
    except _NO_TIME:
        return None
    difference = now - stated - age
    return difference if math.isfinite(difference) else None


def wrong_clock(differences: Iterable[float | None]) -> str:
    """Return what is wrong with this machine's clock, or ''.

    `differences`: those from each server's clock, in seconds. Their median counts: a single
    server's clock may be wrong.
    """
    known = [difference for difference in differences if difference is not None]
    middle = statistics.median(known) if known else 0.0
    if abs(middle) <= MAX_DIFFERENCE_SECONDS:
        return ""
    direction = "ahead of" if middle > 0 else "behind"
    several = f"those of {len(known)} servers"
    servers = several if len(known) > 1 else "that of the only server asked"
    return (
        f"this machine's clock is {abs(middle) / 60:.0f} min {direction} {servers}, so toots are"
        " counted in wrong hours: switch on time synchronisation (timedatectl set-ntp true)"
    )
