"""Toots of clocks that run ahead: each is told under several times, and shall count once.

A post time more than five minutes ahead of ours is no time of posting. The listener then writes
its own time and five minutes (`toot_record`), so two servers that tell of the same toot some
minutes apart, or a listener that reads it again, give it two times, which may lie on both sides of
a full hour. Such a time is recognised by itself: it is exactly five minutes after `ingested_at`.

The rule: a toot that stands in an hour with a time of ours is not counted in the hour after it.
What was told first was also produced first, under the same key, so it lands no later than what was
told second: when an hour is built, the hour before holds the toot already.

What it does not know is a toot that is told again more than an hour later under yet another time:
an edit of a toot whose clock is wrong by hours. It counts in both hours. And a delete is applied
in the hour in which its server told of the toot: where only the second server streams, and so
tells of deletes, the first hour's row keeps its text.
"""

from datetime import datetime, timedelta

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.listening.records.record import FUTURE_TOLERANCE_MS

HOUR = timedelta(hours=1)


def told_before(lake: Lake, hour: datetime) -> dict[str, object]:
    """What the queries of an hour need to leave out the toots that the hour before has.

    `hour`: its start, UTC.
    """
    before = lake.parquet_files(lake.layout.toots(hour - HOUR))
    return {
        "toots_before": [lake.empty_record, *(file.path for file in before)],
        "ahead": timedelta(milliseconds=FUTURE_TOLERANCE_MS),
    }
