"""Listings of days: one for all files of a day, and none that outlives its body."""

from collections.abc import Iterator
from pathlib import Path

from mastodon_pipeline.lake.day_listings import DayListings
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.replacing import replace_file
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.local_lake import (
    HOUR,
    land,
    local_lake,
    record,
    rows,
    write_parquet,
)

ROOT = "s3://bucket"
HOURS = [f"{ROOT}/toots/day=2026-11-{day}/hour=15/toots.parquet" for day in (23, 24)]
RECEIPT = f"{ROOT}/removed/mastodon-topic/created_at_hour=2026-11-24-15/a.parquet"
CHART = f"{ROOT}/charts/toots_per_server/day=2026-11-24.png"


class Bucket:
    """Files that can be listed, and which prefixes were."""

    def __init__(self, *paths: str) -> None:
        self.paths = list(paths)
        self.listed: list[str] = []

    def __call__(self, prefix: str, after: str = "") -> Iterator[StoredFile]:
        self.listed.append(prefix)
        for path in sorted(self.paths):
            if path.startswith(prefix) and path > after:
                yield StoredFile(path, "1", HOUR, 5)


def paths(files: list[StoredFile]) -> list[str]:
    return [file.path for file in files]


def test_files_of_a_day_are_listed_once_within_the_body() -> None:
    bucket = Bucket(*HOURS, RECEIPT)
    listings = DayListings(bucket)
    with listings.in_use():
        assert paths(listings.below(HOURS[1])) == [HOURS[1]]
        assert paths(listings.below(HOURS[1].replace("hour=15", "hour=16"))) == []
        assert paths(listings.below(HOURS[0])) == [HOURS[0]]
        assert paths(listings.below(RECEIPT.removesuffix("a.parquet"))) == [RECEIPT]
    assert bucket.listed == [
        f"{ROOT}/toots/day=2026-11-24",
        f"{ROOT}/toots/day=2026-11-23",
        f"{ROOT}/removed/mastodon-topic/created_at_hour=2026-11-24",
    ]


def test_each_question_is_a_listing_outside_of_it() -> None:
    bucket = Bucket(*HOURS)
    listings = DayListings(bucket)
    with listings.in_use():
        listings.below(HOURS[0])
    bucket.paths.remove(HOURS[0])
    assert listings.below(HOURS[0]) == []
    assert bucket.listed[-1] == HOURS[0]


def test_expired_listing_is_made_again() -> None:
    bucket = Bucket(*HOURS)
    listings = DayListings(bucket)
    with listings.in_use():
        listings.below(HOURS[0])
        bucket.paths.remove(HOURS[0])
        assert paths(listings.below(HOURS[0])) == HOURS[:1]
        listings.expire()
        assert listings.below(HOURS[0]) == []


def test_what_is_in_no_folder_of_a_day_is_listed_by_itself() -> None:
    bucket = Bucket(CHART)
    listings = DayListings(bucket)
    with listings.in_use():
        assert paths(listings.below(CHART)) == [CHART]
    assert bucket.listed == [CHART]


def test_file_replaced_since_its_day_was_listed_is_not_overwritten(lake: Lake) -> None:
    """The object store refuses, and it is made again from what is there now."""
    path = Path(lake.layout.toots(HOUR))
    path.parent.mkdir(parents=True)
    path.write_text("old")
    attempts: list[str] = []

    def make(_: object, local: str) -> None:
        attempts.append(path.read_text())
        Path(local).write_text("made")

    with lake.replaced.in_use():
        lake.replaced.below(str(path))
        path.write_text("newer, of another process")
        replace_file(lake, str(path), make)
    assert len(attempts) == 2
    assert path.read_text() == "made"


def test_toots_that_another_process_replaced_are_counted_in_their_place(
    lake: Lake, tmp_path: Path
) -> None:
    """Though this process has a copy of those that it put there itself."""
    land(lake, record(uri="a"))
    with lake.replaced.in_use(), lake.written.in_use():
        toots = build_toots(lake, HOUR).path
        with local_lake(tmp_path / "another") as another:
            land(another, record(uri="a"), record(uri="b"))
            Path(toots).write_bytes(Path(build_toots(another, HOUR).path).read_bytes())
        build_toots_per_server(lake, HOUR)
    (counted,) = rows(lake, lake.layout.toots_per_server(HOUR))
    assert counted["toots"] == 2


def test_receipts_are_never_older_than_the_listing_of_the_landed_files(lake: Lake) -> None:
    """Else a run would make the hour from what an interrupted removal has left of it (G17)."""
    land(lake, record(uri="a"))
    land(lake, record(uri="b"), name="b")
    with lake.landed.held():
        build_toots(lake, HOUR)
        assert not lake.landed.has_receipts(HOUR)
        receipt = f"{lake.layout.removed_hour(HOUR)}a.parquet"
        write_parquet(lake.connection, receipt, [record(uri="a")])
        Path(lake.layout.landed_hour(HOUR), "a.parquet").unlink()
        lake.landed.expire()  # as ten seconds do
        assert [row["uri"] for row in rows(lake, build_toots(lake, HOUR).path)] == ["a", "b"]
