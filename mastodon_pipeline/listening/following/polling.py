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
)
from mastodon_pipeline.listening.protocol.ids import later

_REREAD_SHARE = 0.75
"""Of the overlap: a toot of a local feed, 60 s, that is listed up to 15 s late is met once."""


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
    response is cached for longer. The overlap is read again every `overlap_reread_seconds`, or
    often enough to meet each toot that is listed late. `until`: monotonic seconds.

    Raises Refused, Unreachable, UnsafeAddress, CrossHostRedirect as the reader does, and
    DeliveryFailed.
    """
    position = recorder.position
    min_id = position.resumes_from
    reread_seconds = min(overlap_reread_seconds, _REREAD_SHARE * position.overlap_seconds)
    reread_at = time.monotonic() + reread_seconds
    while time.monotonic() < until:
        page = await reader.page(min_id)
        on_page()
        latest, _ = recorder.take_page(page, "poll")
        previous, min_id = min_id, later(min_id or BEFORE_EVERYTHING, latest)
        position.note_read(min_id)
        if len(page) >= PAGE_LIMIT and min_id != previous:
            continue  # With a server that ignores min_id it stays the same: treated as the end.
        if position.overlap_seconds and time.monotonic() >= reread_at:
            min_id = position.resumes_from
            reread_at = time.monotonic() + reread_seconds
            continue
        # The jitter keeps a thousand polled servers from being asked at the same moment.
        await asyncio.sleep(max(interval_seconds, reader.cached_seconds) * random.uniform(1.0, 1.1))
