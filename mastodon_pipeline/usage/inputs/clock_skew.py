"""Toots of servers whose clocks run ahead: reported under several times, and to be counted once.

A post time more than five minutes ahead of ours cannot be right. The listener replaces it by its
own time plus five minutes (`listening.records.record`), so two servers that report the same toot
some minutes apart, or a listener that reads it again, give it two times, which may lie on both
sides of a full hour. Such a time can be recognised: it is exactly five minutes after `ingested_at`.

The rule: a toot that an hour has under a time of ours is not counted in the hour after it. What was
reported first was also produced first, under the same key, so it lands no later than the second
report: when an hour is built, the previous hour has the toot already.

Not covered: a toot that is reported again more than an hour later under yet another time, such as
an edit of a toot whose clock is wrong by hours, counts in both hours. And a delete is applied in
the hour in which its server reported the toot: if only the second server streams, and so reports
deletes, the first hour's row keeps its text.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.listening.records.record import FUTURE_TOLERANCE_MS

HOUR = timedelta(hours=1)


def counted_in_previous_hour(lake: Lake, hour: datetime) -> dict[str, object]:
    """Return the query parameters by which an hour leaves out toots that the hour before has.

    `hour`: its start, UTC.
    """
    previous = lake.parquet_files(lake.layout.toots(hour - HOUR))
    return counted_in(lake, map(lake.written.read, previous))


def counted_just_before(lake: Lake, hour: datetime) -> dict[str, object]:
    """Return the same for a build of `hour`: without a request if its process built the one before.

    If another process has put a newer one there in these seconds, with such a toot in it, the toot
    counts in both hours until this one is built again; `no_duplicate_toots` reports it.
    """
    path = lake.layout.toots(hour - HOUR)
    built = lake.written.last(path)
    return counted_in(lake, [built]) if built != path else counted_in_previous_hour(lake, hour)


def counted_in(lake: Lake, files: Iterable[str | None]) -> dict[str, object]:
    """Return the same for the files that have the hour before."""
    return {
        "previous_toots": [lake.empty_record, *(file for file in files if file)],
        "future_tolerance": timedelta(milliseconds=FUTURE_TOLERANCE_MS),
    }
