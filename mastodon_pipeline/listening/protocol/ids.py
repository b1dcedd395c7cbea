"""The times in status ids. Ids are opaque; some kinds of them tell when the server listed a toot.

* Mastodon's snowflakes: decimal, milliseconds since 1970 shifted left by 16 bits, a sequence
  beneath. See: https://github.com/mastodon/mastodon/blob/main/lib/mastodon/snowflake.rb
* ULIDs (GoToSocial): 26 characters of Crockford's base 32, the first ten of them milliseconds.
  See: https://github.com/ulid/spec
"""

import re

_SEQUENCE_BITS = 16
_EARLIEST_MS = 1_451_606_400_000
"""2016-01-01, when Mastodon began: an id that says earlier is of another kind."""
_DAY_MS = 24 * 60 * 60 * 1000
_SNOWFLAKE = re.compile(r"[0-9]{16,20}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CROCKFORD = {digit: value for value, digit in enumerate("0123456789ABCDEFGHJKMNPQRSTVWXYZ")}


def moved_back(status_id: str, milliseconds: int, now: int) -> str:
    """The id of a status listed so many milliseconds before this one.

    An id that is no snowflake is given back as it is. `now`: UTC milliseconds.
    """
    if not _SNOWFLAKE.fullmatch(status_id) or listed_at(status_id, now) is None:
        return status_id
    return str(int(status_id) - (milliseconds << _SEQUENCE_BITS))


def listed_at(status_id: str, now: int) -> int | None:
    """When the server listed the status, UTC milliseconds; None where its id does not tell.

    An id that would say before 2016 or more than a day after `now` (UTC milliseconds) is of
    another kind and tells nothing.
    """
    if _SNOWFLAKE.fullmatch(status_id):
        found = int(status_id) >> _SEQUENCE_BITS
    elif _ULID.fullmatch(status_id):
        found = 0
        for digit in status_id[:10]:
            found = found * 32 + _CROCKFORD[digit]
    else:
        return None
    return found if _EARLIEST_MS <= found <= now + _DAY_MS else None
