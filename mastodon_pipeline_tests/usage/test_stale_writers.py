"""Builds that are suspended at the worst moments, as real processes on the real object store (G14).

Each child stops itself by SIGSTOP, as a laptop that sleeps would stop it; meanwhile newer input
lands and is built; then the child goes on.
"""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.charts.chart import chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.checks.check import Finding
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.daily import DAILY_USAGE
from mastodon_pipeline.usage.tables.hashtags import build_hashtags
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record, rows
from mastodon_pipeline_tests.support.processes import python_process

NOW = HOUR + timedelta(minutes=30)
_BUILD = """
import os, signal, sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, datetime
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.lake.without_pandas import without_pandas
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.charts.chart import draw_chart
from mastodon_pipeline.usage.tables.catalog import TABLES

moment, name, partition = sys.argv[1:]
table = next(table for table in TABLES if table.name == name.removesuffix("_chart"))
stops = [moment]

def stop(here):
    if here in stops:
        stops.remove(here)
        os.kill(os.getpid(), signal.SIGSTOP)

draws = name.endswith("_chart")
with nullcontext() if draws else without_pandas(), open_lake(load_settings()) as lake:
    def list_files(prefix, after=""):
        files = list(lake.list_files(prefix, after))
        stop("listed " + prefix.removeprefix(lake.layout.root))
        return files

    def put(replaced, path, local):
        stop("made")
        return lake.put_in_place_of(replaced, path, local)

    watched = replace(lake, list_files=list_files, put_in_place_of=put)
    if draws:
        draw_chart(watched, table.charts[0], table.name, date.fromisoformat(partition))
    else:
        parse = datetime if "T" in partition else date
        table.build(watched, parse.fromisoformat(partition))
"""


@pytest.fixture
def lake(bucket: Settings) -> Iterator[Lake]:
    """A lake with one toot, whose hour is built."""
    with open_lake(bucket) as opened:
        land(opened, record(), name="one")
        build_hours(opened, HOUR)
        yield opened


@pytest.fixture
def built_day(lake: Lake) -> None:
    """The day is built as well."""
    build_day(lake, DAY)


def build_all(lake: Lake) -> None:
    """Build the hour and the day as they are now."""
    build_hours(lake, HOUR)
    build_day(lake, DAY)


def land_second(lake: Lake) -> None:
    """Land another toot of the hour."""
    land(
        lake, record(uri="second", server="two.example", username="bob", kafka_offset=1), name="two"
    )


def build_suspended(moment: str, table: str, partition: str, meanwhile: Callable[[], None]) -> None:
    """Build in a process that stops at a moment; go on once `meanwhile` is done."""
    with python_process("-c", _BUILD, moment, table, partition) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert process.poll() is None, "it ended without reaching the moment"
        meanwhile()
        process.send_signal(signal.SIGCONT)
        assert process.wait() == 0


TOOTS_OF_THE_DAY = f"listed /toots/day={DAY}/"
TOOTS_OF_THE_HOUR = f"listed /toots/day={DAY}/hour={HOUR:%H}/toots.parquet"
COUNTS_OF_THE_HOUR = f"listed /usage/toots_per_server_per_hour/day={DAY}/{HOUR:%H}.parquet"


@pytest.mark.parametrize("moment", [TOOTS_OF_THE_HOUR, "made"])
def test_toots_of_a_suspended_build_do_not_replace_newer_ones(lake: Lake, moment: str) -> None:
    """It has listed one of two files, and writes an hour later."""

    def meanwhile() -> None:
        land_second(lake)
        build_all(lake)

    build_suspended(moment, "toots", HOUR.isoformat(), meanwhile)
    assert len(rows(lake, lake.layout.toots(HOUR))) == 2
    assert_current(lake)


def test_first_toots_of_a_suspended_build_do_not_replace_newer_ones(bucket: Settings) -> None:
    """Where there was no table yet, the first to come stays."""
    with open_lake(bucket) as lake:
        land(lake, record(), name="one")

        def meanwhile() -> None:
            land_second(lake)
            build_all(lake)

        build_suspended("made", "toots", HOUR.isoformat(), meanwhile)
        assert len(rows(lake, lake.layout.toots(HOUR))) == 2
        assert_current(lake)


@pytest.mark.parametrize("moment", [COUNTS_OF_THE_HOUR, TOOTS_OF_THE_HOUR, "made"])
@pytest.mark.parametrize("counted_meanwhile", [True, False])
def test_counts_are_those_of_the_toots_whose_fingerprint_they_carry(
    lake: Lake, moment: str, counted_meanwhile: bool
) -> None:
    """The toots are replaced while they are counted, and perhaps counted by another build, too."""

    def meanwhile() -> None:
        land_second(lake)
        build_toots(lake, HOUR)
        build_hashtags(lake, HOUR)
        if counted_meanwhile:
            build_toots_per_server(lake, HOUR)

    build_suspended(moment, "toots_per_server_per_hour", HOUR.isoformat(), meanwhile)
    build_day(lake, DAY)
    if moment == "made" and not counted_meanwhile:  # made of the old toots, and says so
        assert scan(lake, Cursor(), NOW, DAY).stale_hours == (HOUR,)
        build_toots_per_server(lake, HOUR)
    assert len(rows(lake, lake.layout.toots_per_server(HOUR))) == 2
    assert_current(lake)


@pytest.mark.usefixtures("built_day")
@pytest.mark.parametrize("moment", [TOOTS_OF_THE_DAY, "made"])
@pytest.mark.parametrize("built_meanwhile", [True, False])
@pytest.mark.parametrize("name", ["daily_usage", "app_usage"])
def test_day_of_a_suspended_build_is_that_of_one_version_of_its_toots(
    lake: Lake, moment: str, built_meanwhile: bool, name: str
) -> None:
    """The toots are replaced between two reads, and perhaps the day as well."""

    def meanwhile() -> None:
        land_second(lake)
        build_hours(lake, HOUR)
        if built_meanwhile:
            build_day(lake, DAY)

    build_suspended(moment, name, DAY.isoformat(), meanwhile)
    if moment == "made" and not built_meanwhile:  # made of the old toots, and says so
        assert scan(lake, Cursor(), NOW, DAY).stale_days == (DAY,)
        build_day(lake, DAY)
    assert sum(row["toots"] for row in rows(lake, lake.layout.daily(name, DAY))) == 2
    assert DAILY_USAGE.checks[0].find_faults(lake, "daily_usage", [DAY]).faults == ()


@pytest.mark.usefixtures("built_day")
def test_chart_of_a_suspended_drawing_shows_its_table(lake: Lake) -> None:
    """Drawn from the old rows, it is thrown away and drawn from the new ones."""
    table = next(table for table in TABLES if table.name == "app_usage")

    def meanwhile() -> None:
        land_second(lake)
        build_all(lake)
        draw_chart(lake, chart, table.name, DAY)

    chart = table.charts[0]
    build_suspended("made", "app_usage_chart", DAY.isoformat(), meanwhile)
    finding = chart_shows_its_table(lake, chart, table.name, [DAY], NOW + timedelta(days=1))
    assert (finding.compared, finding.faults) == (1, ())


def test_object_that_is_written_over_and_over_is_read_as_it_is(lake: Lake) -> None:
    """DuckDB keeps parts of files; a new version of the same size is never taken for the old."""
    build = next(table for table in TABLES if table.name == "toots").build
    for number in range(30):
        land(lake, record(mastodon_text=f"text {number:04}"), name="one")
        build(lake, HOUR)
        assert rows(lake, lake.layout.toots(HOUR))[0]["mastodon_text"] == f"text {number:04}"


def assert_current(lake: Lake) -> None:
    """Nothing is behind what landed, and the checks agree with a recount."""
    freshness = scan(lake, Cursor(), NOW, DAY)
    assert (freshness.stale_hours, freshness.stale_days) == ((), ())
    assert hours_equal_recount(lake, [HOUR]) == Finding(1, ())
