"""Polling a public timeline, where a server gives us no stream."""

import asyncio
import random
import time
from collections.abc import Callable

from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.timeline import (
    BEFORE_EVERYTHING,
    PAGE_LIMIT,
    TimelineReader,
    later,
)


async def poll_timeline(
    reader: TimelineReader,
    recorder: TootRecorder,
    interval: float,
    overlap_every: float,
    until: float,
    polled: Callable[[], None],
) -> None:
    """Reads the timeline from the feed's position on, page by page, until `until`.

    At its end it looks again after `interval` seconds, or later where the server says that its
    answer is cached for longer. On a feed with remote toots the overlap is read again every
    `overlap_every` seconds. `until`: monotonic seconds. `polled` is called after each page.

    Raises Refused, Unreachable, UnsafeAddress, CrossHostRedirect, and DeliveryFailed.
    """
    position = recorder.position
    after = position.resumes_from
    reread_at = time.monotonic() + overlap_every
    while time.monotonic() < until:
        page = await reader.page(after)
        polled()
        newest, _ = recorder.page(page, "poll")
        before, after = after, later(after or BEFORE_EVERYTHING, newest)
        position.saw(after)
        if len(page) >= PAGE_LIMIT and after != before:
            continue  # A server that ignores min_id stays where it is: that is the end.
        if position.overlaps and time.monotonic() >= reread_at:
            after = position.resumes_from
            reread_at = time.monotonic() + overlap_every
            continue
        # With jitter, or a thousand polled servers would be asked in one instant for ever.
        await asyncio.sleep(max(interval, reader.cached_for) * random.uniform(1.0, 1.1))
