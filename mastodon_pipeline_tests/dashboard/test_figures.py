"""What rises, counted from toots that were planted."""

from datetime import timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.dashboard import rising
from mastodon_pipeline.dashboard.counts import Counts, Row
from mastodon_pipeline.dashboard.figure import View
from mastodon_pipeline.dashboard.rising import LEAST_ACCOUNTS, RISING_WORDS
from mastodon_pipeline.dashboard.selection import Selection
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.dashboard.conftest import NOW, toot
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, land, local_lake

pytestmark = pytest.mark.thorough
DAY = timedelta(days=1)


def rising_words(lake: Lake, *texts: tuple[str, int, timedelta], accounts: int = 6) -> list[Row]:
    """Return the figure's rows. `texts`: each by how many toots, how long ago."""
    records = [
        toot(
            1000 * number + of,
            HOUR - ago,
            username=f"user{of % accounts}",
            mastodon_text=text,
        )
        for number, (text, times, ago) in enumerate(texts)
        for of in range(times)
    ]
    land(lake, *records)
    lake.landed.refresh(whole=True)
    build_hours(lake, *{record["created_at"] for record in records})
    selection = Selection()
    return RISING_WORDS.rows(Counts(lake), View(selection, selection.period(NOW), NOW))


def test_word_rises_against_the_same_hours_of_days_before(lake: Lake) -> None:
    """The most unlikely first; what is said as often as ever does not rise."""
    rows = rising_words(
        lake,
        ("A volcano! Coffee first.", 9, timedelta(0)),
        ("Éruption, coffee", 7, timedelta(hours=2)),
        ("coffee and a volcano", 8, DAY),
        ("coffee", 24, 2 * DAY),
    )
    assert rows == [
        {"word": "first", "toots": 9, "expected": 0.0},
        {"word": "éruption", "toots": 7, "expected": 0.0},
        {"word": "volcano", "toots": 9, "expected": 4.0},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "https://volcano.example/eruption",
        "@volcano@example.social",
        "#volcano",
        "12345",
        "火山が噴火した",
        "ab",
        "v" * 31,
    ],
)
def test_addresses_names_and_hashtags_are_no_words(lake: Lake, text: str) -> None:
    assert rising_words(lake, (text, 9, timedelta(0)), ("coffee", 1, DAY)) == []


def test_word_of_few_accounts_is_not_shown(lake: Lake) -> None:
    """However often they use it. Shows P9."""
    assert (
        rising_words(
            lake, ("volcano", 40, timedelta(0)), ("tea", 1, DAY), accounts=LEAST_ACCOUNTS - 1
        )
        == []
    )


def test_words_of_busy_hours_are_counted_in_a_sample_and_multiplied(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of four windows with 800 toots; every text is as much of the sample as of all."""
    monkeypatch.setattr(rising, "READ_TOOTS", 50)
    texts = (("eruption", 400, timedelta(0)), ("tea", 200, DAY), ("tea", 200, 2 * DAY))
    [row] = rising_words(lake, *texts, accounts=100)
    assert row["word"] == "eruption"
    assert row["toots"] % 4 == 0
    assert 300 < row["toots"] < 500
    with local_lake(Path(lake.layout.root)) as again:
        view = View(Selection(), Selection().period(NOW), NOW)
        assert RISING_WORDS.rows(Counts(again), view) == [row]  # of the same toots
    assert "every n-th toot" in RISING_WORDS.counted(view)


def test_nothing_rises_without_a_day_before(lake: Lake) -> None:
    assert rising_words(lake, ("volcano", 9, timedelta(0))) == []
