"""Polling a public timeline, for servers that give us no stream."""

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
    interval_seconds: float,
    overlap_reread_seconds: float,
    until: float,
    on_page: Callable[[], None],
) -> None:
    """Record the timeline from the feed's position on, page by page; call `on_page` after each.

    At its end it is read again after `interval_seconds`, or later if the server says that its
    response is cached for longer. On a feed with remote toots the overlap is read again every
    `overlap_reread_seconds`. `until`: monotonic seconds.

    Raises Refused, Unreachable, UnsafeAddress, CrossHostRedirect as the reader does, and
    DeliveryFailed.
    """
    position = recorder.position
    min_id = position.resumes_from
    reread_at = time.monotonic() + overlap_reread_seconds
    while time.monotonic() < until:
        page = await reader.page(min_id)
        on_page()
        latest, _ = recorder.take_page(page, "poll")
        previous, min_id = min_id, later(min_id or BEFORE_EVERYTHING, latest)
        position.note_read(min_id)
        if len(page) >= PAGE_LIMIT and min_id != previous:
            continue  # With a server that ignores min_id it stays the same: treated as the end.
        if position.overlaps and time.monotonic() >= reread_at:
            min_id = position.resumes_from
            reread_at = time.monotonic() + overlap_reread_seconds
            continue
        # The jitter keeps a thousand polled servers from being asked at the same moment.
        await asyncio.sleep(max(interval_seconds, reader.cached_seconds) * random.uniform(1.0, 1.1))
