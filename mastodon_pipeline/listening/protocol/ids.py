"""The times in status ids. Ids are opaque; some kinds contain when the server listed a toot.

* Mastodon's snowflakes: decimal, milliseconds since 1970 shifted left by 16 bits, plus a sequence
  number. See: https://github.com/mastodon/mastodon/blob/main/lib/mastodon/snowflake.rb
* ULIDs (GoToSocial): 26 characters of Crockford's base 32, the first ten of them milliseconds.
  See: https://github.com/ulid/spec
"""

import re

_SEQUENCE_BITS = 16
_EARLIEST_MS = 1_451_606_400_000
"""2016-01-01, when Mastodon began: an id with an earlier time is of another kind."""
_DAY_MS = 24 * 60 * 60 * 1000
_SNOWFLAKE = re.compile(r"[0-9]{16,20}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CROCKFORD = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}


def moved_back(status_id: str, milliseconds: int, now: int) -> str:
    """Return the id of a status listed this many milliseconds earlier.

    An id that is not a snowflake is returned as it is. `now`: UTC milliseconds.
    """
    if not _SNOWFLAKE.fullmatch(status_id) or listed_at(status_id, now) is None:
        return status_id
    return str(int(status_id) - (milliseconds << _SEQUENCE_BITS))


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
