"""A lake with three days of toots on two servers, all tables built."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, Record, land, local_lake, record

NOW = HOUR + timedelta(minutes=40)
"""24 November 2026, 15:40 UTC, a Tuesday."""


def toot(number: int, moment: datetime, **fields: object) -> Record:
    """Return a record of a toot; the number makes it another one."""
    server = str(fields.get("server", "one.example"))
    uri = f"https://{server}/{number}"
    return record(uri=uri, status_id=str(number), created_at=moment, **fields)


def toots() -> list[Record]:
    """Return a toot each ten minutes for three days; every third is of the second server."""
    moments = [NOW - timedelta(minutes=10 * n) for n in range(3 * 24 * 6)]
    servers = ("one.example", "two.example", "one.example")
    languages = ("en", "de", "", "ja")
    return [
        toot(
            number,
            moment,
            server=servers[number % 3],
            username=f"user{number % 5}",
            bot=number % 5 == 4,
            language_primary=languages[number % 4],
            app=("Tusky", "")[number % 2],
            tag_names=["Cats", "写真"] if number % 4 == 0 else ["cats"],
            characters=number % 90,
        )
        for number, moment in enumerate(moments)
    ]


@pytest.fixture(scope="session")
def built_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The lake; tests leave its files as they are."""
    root: Path = tmp_path_factory.mktemp("dashboard-lake")
    with local_lake(root) as lake:
        records = land(lake, *toots())
        hours = {r["created_at"].replace(minute=0) for r in records}
        lake.landed.refresh(whole=True)
        build_hours(lake, *sorted(hours))
        for day in sorted({hour.date() for hour in hours}):
            build_day(lake, day)
        yield lake


@pytest.fixture
def lake_of_three_days(built_lake: Lake) -> Iterator[Lake]:
    """The lake, by a connection of the test's own."""
    with local_lake(Path(built_lake.layout.root)) as lake:
        yield lake
