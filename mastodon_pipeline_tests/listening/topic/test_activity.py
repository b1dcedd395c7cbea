"""The toots of the last hour, counted in memory for `mastodon-pipeline top`."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic import activity
from mastodon_pipeline.listening.topic.activity import MINUTE_MS, WINDOW_MINUTES, RecentToots

NOW = 1_790_000_080_000
"""UTC milliseconds, 40 s after a full minute."""


def toot(number: int, **fields: Any) -> TootRecord:
    known: dict[str, Any] = {
        "uri": f"https://one.example/{number}",
        "server": "one.example",
        "created_at": NOW,
        "source": "stream",
    }
    return TootRecord(**known | fields)


def counted(*arrivals: tuple[TootRecord, float]) -> RecentToots:
    """Count toots that arrived so many minutes ago."""
    toots = RecentToots()
    for record, minutes in arrivals:
        toots.add(record, int(NOW - minutes * MINUTE_MS))
    return toots


def test_servers_are_counted_by_minute_and_hour_the_busiest_first() -> None:
    toots = counted(
        (toot(1, server="quiet.example"), 30),
        *((toot(n), 1.2) for n in (2, 3)),
        (toot(4), 0.1),
        (toot(5), WINDOW_MINUTES + 2),
    )
    first, second = toots.activity(NOW).servers
    assert (first.server, first.last_minute, first.last_hour) == ("one.example", 2, 3)
    assert (second.server, second.last_minute, second.last_hour) == ("quiet.example", 0, 1)
    assert toots.activity(NOW).last_hour == 4


def test_toot_counts_once_however_often_it_comes() -> None:
    twice = toot(1), toot(1, base_url="https://two.example", source="poll")
    assert counted(*((record, 0) for record in twice)).activity(NOW).last_hour == 1


def test_edits_deletes_and_the_past_are_not_what_happens_now() -> None:
    others = [
        toot(1, event="status.update"),
        toot(2, event="delete"),
        toot(3, source="past"),
        toot(4, source="replay"),
    ]
    assert counted(*((record, 0) for record in others)).activity(NOW).servers == []


def test_lag_is_that_of_the_latest_toot_that_was_read_live() -> None:
    """A toot that fills a gap is late because we were away."""
    toots = counted((toot(1, created_at=NOW - 1500), 0), (toot(2, created_at=0, source="gap"), 0))
    assert toots.activity(NOW).servers[0].lag_ms == 1500


def test_hashtag_rises_if_ten_minutes_have_more_than_ten_had_before() -> None:
    """Spelling makes no difference; a few toots alone are no rise."""
    even = [(toot(n, tag_names=["Even"]), n * 0.98) for n in range(60)]
    rising = [(toot(100 + n, tag_names=["News" if n % 2 else "news"]), 1) for n in range(6)]
    rare = (toot(200, tag_names=["rare"]), 1)
    assert [tag for tag, *_ in counted(*even, *rising, rare).activity(NOW).rising][:1] == ["news"]
    assert "rare" not in {tag for tag, *_ in counted(rare).activity(NOW).rising}


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 90)), max_size=60))
def test_any_order_of_arrival_counts_the_same(arrivals: list[tuple[int, float]]) -> None:
    """Partitions are read side by side: each distinct toot of the hour counts, by its minute."""
    distinct = {number: (toot(number), minutes) for number, minutes in arrivals}
    in_window = [m for _, m in distinct.values() if (NOW - m * MINUTE_MS) // MINUTE_MS >= _OLDEST]
    forward = counted(*sorted(distinct.values(), key=lambda each: -each[1]))
    assert forward.activity(NOW).last_hour == len(in_window)
    backward = counted((toot(-1), 0), *sorted(distinct.values(), key=lambda each: each[1]))
    assert backward.activity(NOW).last_hour == len(in_window) + 1


def test_memory_is_bounded_by_the_names_of_a_minute(monkeypatch: Any) -> None:
    monkeypatch.setattr(activity, "_MAX_NAMES", 10)
    monkeypatch.setattr(activity, "MAX_TOOTS", 50)
    toots = counted(*((toot(n, server=f"{n}.example", tag_names=[str(n)]), 0) for n in range(100)))
    assert len(toots.activity(NOW).servers) == 10


_OLDEST = NOW // MINUTE_MS - WINDOW_MINUTES
