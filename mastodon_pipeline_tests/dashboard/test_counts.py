"""The page's numbers equal a count of the toots themselves."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event

import duckdb
import pytest

from mastodon_pipeline.dashboard.counts import Counts
from mastodon_pipeline.dashboard.live_toots import LiveFiles
from mastodon_pipeline.dashboard.periods import (
    Span,
    last_hour,
    named_period,
    this_week,
    today,
)
from mastodon_pipeline.dashboard.selection import Selection
from mastodon_pipeline.dashboard.table_rows import Source
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.dashboard.conftest import NOW, toots
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, land, rows

pytestmark = pytest.mark.thorough

TOOTS = toots()
ALL = Selection()
ONE = Selection(servers=("one.example",))


def counted(span: Span, selection: Selection = ALL) -> int:
    """Count the toots of a span from what was posted."""
    return sum(
        span.since <= toot["created_at"] < span.until
        and toot["server"] in (selection.servers or ("one.example", "two.example"))
        for toot in TOOTS
    )


@pytest.mark.parametrize("selection", [ALL, ONE], ids=["all", "one server"])
@pytest.mark.parametrize(
    "span",
    [
        *last_hour(NOW + timedelta(minutes=3)),
        *today(NOW + timedelta(minutes=3)),
        *this_week(NOW + timedelta(minutes=3)),
        Span(HOUR - timedelta(minutes=50), HOUR - timedelta(minutes=20)),
        Span(HOUR - timedelta(hours=60), HOUR),
        Span(HOUR - timedelta(days=900), HOUR - timedelta(days=2)),
        Span(HOUR - timedelta(days=2), HOUR - timedelta(days=2)),
    ],
    ids=str,
)
def test_toots_of_a_span_equal_those_posted(
    lake_of_three_days: Lake, span: Span, selection: Selection
) -> None:
    counts = Counts(lake_of_three_days)
    toots_between = counts.toots_between(span, selection, NOW + timedelta(minutes=3))
    assert toots_between == counted(span, selection)


def test_accounts_of_a_day_are_those_that_posted(lake_of_three_days: Lake) -> None:
    counts = Counts(lake_of_three_days)
    [row] = counts.accounts(ALL, NOW)
    assert row["today"] == row["yesterday"] == 10
    [row] = counts.accounts(Selection(servers=("silent.example",)), NOW)
    assert (row["today"], row["week"], row["month"]) == (0, 0, 0)


def test_accounts_are_not_counted_before_todays_table_is_built(lake_of_three_days: Lake) -> None:
    """Which is no zero: after midnight, or in a new pipeline, they are counted minutes later."""
    counts = Counts(lake_of_three_days)
    [row] = counts.accounts(ALL, NOW + timedelta(days=1))
    assert (row["today"], row["week"], row["month"]) == (None, None, None)
    assert row["yesterday"] == 10


@pytest.mark.parametrize("name", ["1h", "24h", "7d", "30d", "90d"])
def test_toots_by_server_sum_to_those_posted(lake_of_three_days: Lake, name: str) -> None:
    now = NOW + timedelta(seconds=1)
    period = named_period(name, now)
    rows = Counts(lake_of_three_days).toots_by_server(period, ALL, now)
    for server in ("one.example", "two.example"):
        toots = sum(row["toots"] for row in rows if row["server"] == server)
        assert toots == counted(period.span, Selection(servers=(server,)))
    assert [row["moment"] for row in rows] == sorted(row["moment"] for row in rows)


def test_hour_that_is_built_again_is_read_again(lake: Lake) -> None:
    land(lake, TOOTS[0])
    lake.landed.refresh(whole=True)
    build_hours(lake, HOUR)
    counts = Counts(lake)
    span = Span(HOUR, NOW + timedelta(seconds=1))
    assert counts.toots_between(span, ALL, NOW) == 1
    land(lake, TOOTS[1], name="b")
    lake.landed.refresh(whole=True)
    build_hours(lake, HOUR)
    counts._live_at = -100.0  # another cut is due
    assert counts.toots_between(span, ALL, NOW) == 2


def test_hour_that_is_behind_is_read_from_the_cut(lake_of_three_days: Lake, tmp_path: Path) -> None:
    layout = lake_of_three_days.layout
    local = str(tmp_path / "local.parquet")
    [of_one, _] = rows(lake_of_three_days, layout.toots_per_server(HOUR))
    lake_of_three_days.connection.execute(
        f"COPY (SELECT * REPLACE (7 AS toots) FROM read_parquet('{layout.toots_per_server(HOUR)}',"
        f" hive_partitioning := false) WHERE server = 'one.example') TO '{local}' (FORMAT parquet)"
    )
    assert of_one["toots"] != 7
    behind = {layout.toots_per_server(HOUR): Source(local, local)}
    counts = Counts(lake_of_three_days, lambda: LiveFiles(hours=behind))
    assert counts.toots_between(Span(HOUR, NOW), ALL, NOW) == 7


def test_servers_and_languages_are_listed_by_use(lake_of_three_days: Lake) -> None:
    counts = Counts(lake_of_three_days)
    assert counts.servers(NOW) == ["one.example", "two.example"]
    assert set(counts.languages(NOW)) == {"en", "de", "", "ja"}


def test_lake_without_tables_is_empty(lake: Lake, lake_of_three_days: Lake) -> None:
    assert Counts(lake).is_empty()
    assert not Counts(lake_of_three_days).is_empty()


def test_counting_that_runs_is_interrupted_when_the_page_stops(lake_of_three_days: Lake) -> None:
    counts = Counts(lake_of_three_days)
    counting = Event()

    def count_for_ever() -> None:
        with counts.reading():
            counting.set()
            lake_of_three_days.connection.execute("SELECT count(*) FROM range(1_000_000_000_000)")

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(count_for_ever)
        assert counting.wait(900)
        counts.close()
        with pytest.raises(duckdb.InterruptException):
            running.result(900)
    with pytest.raises(duckdb.ConnectionException, match="stopped"):
        counts.servers(NOW)
