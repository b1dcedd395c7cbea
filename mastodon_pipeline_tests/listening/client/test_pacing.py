"""Connections begin evenly, however many are wanted at once."""

import asyncio

from mastodon_pipeline.listening.client.pacing import ConnectPace


async def _begin(pace: ConnectPace, times: list[float]) -> None:
    async with pace.turn():
        times.append(asyncio.get_running_loop().time())


def test_a_herd_becomes_a_line() -> None:
    """Of forty at once, at a hundred a second, each begins a hundredth after the one before."""

    async def herd() -> list[float]:
        began = asyncio.get_running_loop().time()
        pace, times = ConnectPace(100.0), list[float]()
        await asyncio.gather(*(_begin(pace, times) for _ in range(40)))
        return [time - began for time in times]

    for number, time in enumerate(asyncio.run(herd())):
        assert time > number / 100 - 0.01, "later is fine, on a busy machine; earlier is not"


def test_one_alone_does_not_wait() -> None:
    """The pace is for crowds."""

    async def one() -> float:
        began = asyncio.get_running_loop().time()
        times: list[float] = []
        await _begin(ConnectPace(0.5), times)
        return times[0] - began

    assert asyncio.run(one()) < 0.5
