"""Polling a public timeline, for servers that give us no stream."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.following.timeline import (
    BEFORE_EVERYTHING,
    NEWEST_PAGE_ONLY,
    TimelineReader,
)
from mastodon_pipeline.listening.protocol.ids import later, listed_at

_log = logging.getLogger(__name__)
_HOLE_PAUSE_SECONDS = 1.0
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

    **What can be lost here:** on a server that shows nothing but its newest page, whatever exceeds
    that page between two polls. It is reported as an unfilled gap.

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
        if page.hole_before:
            _report_hole(recorder, page.hole_before)
        latest, _ = recorder.take_page(page.statuses, "poll")
        previous, min_id = min_id, later(min_id or BEFORE_EVERYTHING, latest)
        position.note_read(min_id)
        if page.more and min_id != previous:
            continue
        if position.overlap_seconds and time.monotonic() >= reread_at:
            min_id = position.resumes_from
            reread_at = time.monotonic() + reread_seconds
            continue
        # The jitter keeps a thousand polled servers from being asked at the same moment.
        pause = max(interval_seconds, reader.cached_seconds)
        if page.hole_before:  # Too slow for it: as often as it has another page, and allows.
            pause = min(pause, max(_HOLE_PAUSE_SECONDS, reader.cached_seconds))
        await asyncio.sleep(pause * random.uniform(1.0, 1.1))


def _report_hole(recorder: TootRecorder, before_id: str) -> None:
    """Report what lies between what was read and this id, unless all of it was read before."""
    after_id = recorder.position.newest or ""
    if later(after_id, before_id) == after_id:
        return  # In the overlap.
    now = time.time_ns() // 1_000_000
    recorder.statistics.add_unfilled_gap(
        UnfilledGap(
            after_id=after_id,
            before_id=before_id,
            from_ms=listed_at(after_id, now),
            to_ms=listed_at(before_id, now),
            reason=NEWEST_PAGE_ONLY,
            found_at_ms=now,
        )
    )
    _log.warning("%s: what follows %s cannot be read", recorder.statistics.server.name, after_id)
