"""The article's queries, on its layout and on ours: a file for every ten toots, or a table.

The same 1.6 million toots, the article's ten days: in the layout that its sink wrote (Parquet
files of ten toots each, one folder), and in ours (`toots`, one file an hour, and the usage tables),
built here from landed records by the functions that the assets call. Each query gets a new
connection, opened as `mastodon-pipeline sql` opens it. Three ways to query:

- the article's: its statement, on a view `mastodon_toot` over its files;
- ours, unchanged: the same statement, on the view `mastodon_toot` over `toots`. What a file costs
  is the same in both, so the ratio is at most that of the files, 160,000 to 240;
- ours, the table: a statement on the usage table that already has the answer, which is what the
  tables are for. This is the ratio that counts.

160,000 files would take hours: a smaller number is built and timed, and the time is extrapolated by
the number of files. It grows at least in proportion with them, as the first table shows.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import islice

import click
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from benchmarks.generated_records import write_records
from benchmarks.object_store import put_objects, run_object_store
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline.usage.views import open_views

TOOTS, DAYS = 1_600_000, 10
TOOTS_A_FILE = 10
"""The article's `flush.size`."""
FILES = TOOTS // TOOTS_A_FILE
START = datetime(2026, 11, 1, tzinfo=UTC)
FOLDER = "article/topics/mastodon-topic/partition=0"

COLUMNS = (
    "m_id, created_at, created_at_str, app, url, base_url, language, favourites, username, bot, "
    "tags, characters, words, mastodon_text"
)
"""Of the article's files."""
DAY = "strftime(to_timestamp(created_at), '%Y-%m-%d')"
QUERIES = {
    "days": (
        f"""SELECT {DAY} AS day, count(*) AS toots, count(DISTINCT username) AS users,
            count(DISTINCT regexp_extract(url, '^https?://([^/]+)', 1)) AS servers,
            mode(username) FILTER (NOT bot) AS not_bot, mode(username) FILTER (bot) AS bot
        FROM mastodon_toot GROUP BY ALL ORDER BY day""",
        "SELECT * FROM daily_usage ORDER BY day",
    ),
    "hours of the day": (
        f"""SELECT {DAY} AS day, hour(to_timestamp(created_at)) AS hour, count(*) AS toots
        FROM mastodon_toot GROUP BY ALL ORDER BY day, hour""",
        "SELECT * FROM hour_of_day_usage",
    ),
    "apps": (
        """SELECT app, count(*) AS toots FROM mastodon_toot WHERE app <> '' AND NOT bot
        GROUP BY app ORDER BY toots DESC LIMIT 10""",
        "SELECT app, sum(toots) AS toots FROM app_usage GROUP BY app ORDER BY toots DESC LIMIT 10",
    ),
    "languages": (
        """SELECT language, count(*) AS toots FROM mastodon_toot
        GROUP BY language ORDER BY toots DESC LIMIT 20""",
        """SELECT language_name, sum(toots) AS toots FROM language_usage
        GROUP BY language_name ORDER BY toots DESC LIMIT 20""",
    ),
    "density": (
        """SELECT language, quantile_cont(characters, [0.25, 0.5, 0.75]) AS characters
        FROM mastodon_toot WHERE characters < 200 AND language <> 'unknown' GROUP BY language""",
        "SELECT * FROM language_density",
    ),
    "terms": (
        f"""SELECT {DAY} AS day, count(*) FILTER (mastodon_text ILIKE '%notebook%') AS toots
        FROM mastodon_toot GROUP BY day ORDER BY day""",
        "SELECT * FROM term_mentions",
    ),
}
"""The article's figures: its statement by its columns, and the table that has the answer."""


@dataclass(frozen=True)
class QueryTimes:
    """What a query took, in each of the three ways; seconds."""

    article: float
    """For all the article's files, extrapolated."""
    unchanged: float
    table: float


def land_and_build() -> float:
    """Land ten days of records, and build every table of ours from them, as the assets do.

    Returns the seconds that the hourly tables took.
    """
    with open_lake(load_settings()) as lake:
        began = time.monotonic()
        write_records(
            lake.connection, lake.layout.landed(), start=START, days=DAYS, toots=TOOTS, by_hour=True
        )
        report(f"landed the records of {TOOTS:,} toots", began)
        began = time.monotonic()
        for number in range(24 * DAYS):
            build_toots(lake, START + timedelta(hours=number))
            build_toots_per_server(lake, START + timedelta(hours=number))
        seconds = time.monotonic() - began
        report(f"built the tables of {24 * DAYS} hours", began)
        began = time.monotonic()
        for number in range(DAYS):
            for table in DAILY_TABLES:
                table.build(lake, (START + timedelta(days=number)).date())
        report(f"built the tables of {DAYS} days", began)
    return seconds


def article_files(count: int) -> Iterator[tuple[str, bytes]]:
    """Generate files of the first toots as the article's sink would have landed them."""
    root = f"s3://{load_settings().s3_bucket}/{FOLDER}"
    with open_views(load_settings()) as connection:
        toots = connection.sql(
            f"SELECT {COLUMNS} FROM mastodon_toot ORDER BY created_at, m_id LIMIT $toots",
            params={"toots": count * TOOTS_A_FILE},
        ).to_arrow_table()
    for number in range(count):
        buffer = BytesIO()
        rows = toots.slice(number * TOOTS_A_FILE, TOOTS_A_FILE)
        pq.write_table(rows, buffer, compression="snappy")
        yield (
            f"{root}/mastodon-topic+0+{number * TOOTS_A_FILE:010}.snappy.parquet",
            buffer.getvalue(),
        )


def query_article(statement: str) -> float:
    """Seconds from connecting to the last row."""
    began = time.perf_counter()
    settings = load_settings()
    with closing(connect_lake(settings)) as connection:
        files = connection.read_parquet(f"s3://{settings.s3_bucket}/{FOLDER}/*.parquet")
        files.create_view("mastodon_toot")
        connection.sql(statement).fetchall()
    return time.perf_counter() - began


def query_ours(statement: str) -> float:
    """Seconds from connecting to the last row, as `mastodon-pipeline sql` does it.

    The quickest of three: other work on the machine would be most of so short a time.
    """
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        with open_views(load_settings()) as connection:
            connection.sql(statement).fetchall()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def report(text: str, began: float) -> None:
    """Report progress."""
    click.echo(f"  {text} in {time.monotonic() - began:.0f} s", err=True)


def steps(files: int) -> list[int]:
    """Return a quarter of them, half, all."""
    return [files // 4, files // 2, files]


@click.command()
@click.option(
    "--files", default=20_000, show_default=True, help="Of the article's, ten toots each."
)
def bench(files: int) -> None:
    """Seconds for the article's queries of 1.6 million toots, in its layout and in ours."""
    growth: dict[int, float] = {}
    queried: dict[str, QueryTimes] = {}
    with run_object_store():
        building = land_and_build()
        pending = article_files(files)
        for count in steps(files):
            began = time.monotonic()
            put_objects(islice(pending, count - max(growth, default=0)))
            report(f"{count:,} files in the article's layout", began)
            growth[count] = query_article(QUERIES["days"][0])
            report(f"queried the days of {count:,} files", time.monotonic() - growth[count])
            if len(growth) == 1:
                first = {
                    name: query_article(statement)
                    for name, (statement, _) in QUERIES.items()
                    if name != "days"
                }
        first["days"] = growth[files] * steps(files)[0] / files
        for name, (statement, of_table) in QUERIES.items():
            queried[name] = QueryTimes(
                first[name] * FILES / steps(files)[0], query_ours(statement), query_ours(of_table)
            )
    click.echo(f"\n{'files of ten toots':>20} {'seconds':>8} {'ms a file':>10}   (query: days)")
    for count, seconds in growth.items():
        click.echo(f"{count:>20,} {seconds:>8.1f} {1000 * seconds / count:>10.2f}")
    click.echo(
        f"\n{TOOTS:,} toots. The article's layout, {FILES:,} files: extrapolated from "
        f"{files:,} (days) and {steps(files)[0]:,} files (the others)\n"
        f"\n{'seconds':<18} {'article':>9} {'ours, unchanged':>16} {'ours, the table':>16}"
    )
    for name, times in queried.items():
        click.echo(
            f"{name:<18} {times.article:>9,.0f} {times.unchanged:>16.2f} {times.table:>16.2f}"
        )
    article = sum(times.article for times in queried.values())
    unchanged = sum(times.unchanged for times in queried.values())
    table = sum(times.table for times in queried.values())
    click.echo(f"{'all':<18} {article:>9,.0f} {unchanged:>16.2f} {table:>16.2f}")
    click.echo(f"BENCH usage.ratio_vs_article_layout {article / table:.0f}")
    click.echo(f"BENCH usage.ratio_vs_article_layout_unchanged {article / unchanged:.0f}")
    click.echo(f"BENCH usage.ten_days_of_hours_seconds {building:.0f}")


if __name__ == "__main__":
    bench()
