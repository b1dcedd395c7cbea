"""Connections are spaced out, and failures are retried with growing waits."""

import asyncio

import pytest

from mastodon_pipeline.listening.client.pacing import Backoff, ConnectPace


async def connect(pace: ConnectPace, times: list[float]) -> None:
    async with pace.turn():
        times.append(asyncio.get_running_loop().time())


def test_connections_wanted_at_once_are_spaced_out() -> None:
    """Forty at once, at a hundred per second: each starts 10 ms after the one before. Shows G7."""

    async def all_at_once() -> list[float]:
        began = asyncio.get_running_loop().time()
        pace, times = ConnectPace(100.0), list[float]()
        await asyncio.gather(*(connect(pace, times) for _ in range(40)))
        return [time - began for time in times]

    for number, time in enumerate(asyncio.run(all_at_once())):
        assert time > number / 100 - 0.01, "on a busy machine later, but never earlier"


def test_single_connection_does_not_wait() -> None:
    async def one_connection() -> float:
        began = asyncio.get_running_loop().time()
        times: list[float] = []
        await connect(ConnectPace(0.5), times)
        return times[0] - began

    assert asyncio.run(one_connection()) < 2.0, "the time that a second one would wait"


def test_backoff_grows_to_its_bound() -> None:
    """With full jitter, and never less than a tenth of the bound. Shows G7."""
    backoff = Backoff(first_seconds=1.0, longest_seconds=8.0)
    for bound in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert bound / 10 <= backoff.next_wait() <= bound


@pytest.mark.parametrize(("lasted_seconds", "bound"), [(59, 4.0), (61, 1.0)])
def test_backoff_starts_over_after_a_connection_that_lasted(
    lasted_seconds: float, bound: float
) -> None:
    """A connection that breaks at once does not reset it."""
    backoff = Backoff(first_seconds=1.0)
    backoff.next_wait()
    backoff.next_wait()
    backoff.note_connected()
    assert backoff._connected_at is not None
    backoff._connected_at -= lasted_seconds
    backoff.note_connected()
    assert bound / 10 <= backoff.next_wait() <= bound
