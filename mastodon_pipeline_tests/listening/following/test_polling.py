"""A polled timeline is read forward, no more often than the server allows."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from aiohttp import web

from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.following.polling import poll_timeline
from mastodon_pipeline.listening.following.timeline import PAGE_LIMIT, TimelineReader
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import RecordingSink, recorder_into

LIMITS = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "299"}
LIMITS |= {"X-RateLimit-Reset": "2100-01-01T00:00:00Z"}


def status(number: int) -> dict[str, object]:
    return {
        "id": str(number),
        "uri": f"https://a.example/{number}",
        "created_at": "2026-01-01T00:00:00Z",
        "account": {"acct": "ann"},
    }


class Polled:
    """A server that was polled: the requests' parameters, the pauses before them, the records."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.sink = RecordingSink()
        self._times: list[float] = []

    @property
    def pauses(self) -> list[float]:
        """The seconds between each request's arrival and the next, on however busy a machine."""
        return [after - before for before, after in pairwise(self._times)]

    def add(self, request: web.Request) -> None:
        self.queries.append(dict(request.query))
        self._times.append(time.monotonic())


def poll(
    answer: Callable[[web.Request], web.Response], requests: int, interval: float = 0.05
) -> Polled:
    """Poll a server with these responses until the last of so many requests arrives.

    What it would answer to that is not recorded.
    """
    polled = Polled()

    async def run() -> None:
        enough = asyncio.Event()

        async def timeline(request: web.Request) -> web.Response:
            polled.add(request)
            if len(polled.queries) >= requests:
                enough.set()
                await asyncio.sleep(60)
            return answer(request)

        app = web.Application()
        app.router.add_get("/api/v1/timelines/public", timeline)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        recorder = recorder_into(polled.sink, start="100")
        try:
            async with Connections(Settings(mastodon_allow_private_addresses=True)) as connections:
                reader = TimelineReader(url, "local", None, connections, RateBudget())
                polling = asyncio.create_task(
                    poll_timeline(reader, recorder, interval, 300, math.inf, lambda: None)
                )
                waiting = asyncio.create_task(enough.wait())
                await asyncio.wait({polling, waiting}, return_when=asyncio.FIRST_COMPLETED)
                for task in (polling, waiting):
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await polling
        finally:
            await runner.cleanup()

    asyncio.run(run())
    return polled


def test_pages_are_read_forward_without_a_pause_until_one_is_not_full() -> None:
    """From the position on; the end of the timeline is read again after the interval. Shows G1.

    What precedes the first full page is asked for once: then it is known that `min_id` is heeded.
    """

    def answer(request: web.Request) -> web.Response:
        if "max_id" in request.query:
            before = int(request.query["max_id"])
            ids = range(before - PAGE_LIMIT, before)
        else:
            after = int(request.query["min_id"])
            ids = range(after + 1, min(after + PAGE_LIMIT, 210) + 1)
        return web.json_response([status(number) for number in reversed(ids)], headers=LIMITS)

    full = poll(answer, requests=4, interval=3600)
    bounds = [query.get("min_id") or f"before {query['max_id']}" for query in full.queries]
    assert bounds == ["100", "before 101", "140", "180"]
    polled = poll(answer, requests=7, interval=0.1)
    assert [query.get("min_id") for query in polled.queries[4:]] == ["210"] * 3
    assert min(polled.pauses[3:]) >= 0.1
    assert {query["local"] for query in polled.queries} == {"true"}
    assert polled.sink.uris() == [f"https://a.example/{number}" for number in range(101, 211)]


def test_polling_pauses_if_the_server_ignores_min_id() -> None:
    """Its page is always full, and always the same. Shows G7."""

    def answer(request: web.Request) -> web.Response:
        page = [status(number) for number in reversed(range(200, 200 + PAGE_LIMIT))]
        return web.json_response(page, headers=LIMITS)

    polled = poll(answer, requests=6, interval=0.1)
    assert min(polled.pauses[1:]) >= 0.1, "the first is what asks whether it is heeded"
    assert len(polled.sink.uris()) == PAGE_LIMIT


@pytest.mark.thorough
def test_cached_timeline_is_not_requested_again_before_the_cache_expires() -> None:
    """Mastodon caches anonymous responses for 15 s, and says so."""

    def answer(request: web.Request) -> web.Response:
        headers = LIMITS | {"Cache-Control": "public, max-age=1, stale-while-revalidate=30"}
        return web.json_response([], headers=headers)

    assert min(poll(answer, requests=2, interval=0.05).pauses) >= 1


def test_compressed_page_is_read() -> None:
    def answer(request: web.Request) -> web.Response:
        assert "gzip" in request.headers["Accept-Encoding"]
        response = web.json_response(
            [status(101)] if request.query["min_id"] == "100" else [], headers=LIMITS
        )
        response.enable_compression(web.ContentCoding.gzip)
        return response

    sink = poll(answer, requests=2).sink
    assert sink.uris() == ["https://a.example/101"]
    assert sink.records[0].source == "poll"
