"""The times in status ids. Ids are opaque; some kinds contain when the server listed a toot.

* Mastodon's snowflakes: decimal, milliseconds since 1970 shifted left by 16 bits, plus a sequence
  number. See: https://github.com/mastodon/mastodon/blob/main/lib/mastodon/snowflake.rb
* ULIDs (GoToSocial): 26 characters of Crockford's base 32, the first ten of them milliseconds.
  See: https://github.com/ulid/spec
"""

import re
import time

_SEQUENCE_BITS = 16
_EARLIEST_MS = 1_451_606_400_000
"""2016-01-01, when Mastodon began: an id with an earlier time is of another kind."""
_DAY_MS = 24 * 60 * 60 * 1000
_SNOWFLAKE = re.compile(r"[0-9]{16,20}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CROCKFORD = {digit: value for value, digit in enumerate(_DIGITS)}


def moved_back(status_id: str, milliseconds: int, now: int) -> str:
    """Return the id of a status listed this many milliseconds earlier.

    An id without a time is returned as it is. `now`: UTC milliseconds.
    """
    listed = listed_at(status_id, now)
    if listed is None or not milliseconds:
        return status_id
    if _SNOWFLAKE.fullmatch(status_id):
        return str(int(status_id) - (milliseconds << _SEQUENCE_BITS))
    earlier, digits = max(0, listed - milliseconds), ""
    for _ in range(10):
        earlier, digit = divmod(earlier, 32)
        digits = _DIGITS[digit] + digits
    return digits + "0" * 16  # The first ULID of that millisecond; GoToSocial takes it as min_id.


def later(left: str, right: str) -> str:
    """Return the later of two ids of one server; '' is before all.

    Of two ids of one kind the longer is the later, then the greater. Of two kinds (a server that
    changed its software, an id that is odd) their times decide, and an id with a time is later
    than one without: so one odd id, however long, never hides the ids that come after it.
    """
    if len(left) == len(right):
        return left if left > right else right
    now = time.time_ns() // 1_000_000
    left_at, right_at = listed_at(left, now), listed_at(right, now)
    if left_at != right_at:
        return left if (left_at or 0) > (right_at or 0) else right
    return left if len(left) > len(right) else right


def listed_at(status_id: str, now: int) -> int | None:
    """Return when the server listed the status, UTC milliseconds; None if its id has no time.

    An id whose time would be before 2016 or more than a day after `now` (UTC milliseconds) is of
    another kind and has none.
    """
    if _SNOWFLAKE.fullmatch(status_id):
        milliseconds = int(status_id) >> _SEQUENCE_BITS
    elif _ULID.fullmatch(status_id):
        milliseconds = 0
        for digit in status_id[:10]:
            milliseconds = milliseconds * 32 + _CROCKFORD[digit]
    else:
        return None
    return milliseconds if _EARLIEST_MS <= milliseconds <= now + _DAY_MS else None
