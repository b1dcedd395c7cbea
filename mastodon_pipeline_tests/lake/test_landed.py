"""The index of the landed files: by content, wherever they lie, and never above a listing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from mastodon_pipeline.lake import index_groups, landed, queries
from mastodon_pipeline.lake.contents import Contents
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.refreshing.freshness import NEVER
from mastodon_pipeline_tests.support.local_lake import HOUR, local_lake, record, write_parquet

EARLIER = HOUR - timedelta(days=400)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with local_lake(tmp_path) as opened:
        yield opened


def land_in(lake: Lake, folder: str, *records: dict[str, object], name: str = "a") -> str:
    """Land records in one file of any folder; return its path."""
    path = f"{lake.layout.landed()}{folder}{name}.parquet"
    write_parquet(lake.connection, path, records)
    return path


def files_of(lake: Lake, hour: datetime) -> list[str]:
    """Return the paths of the files that hold records of an hour."""
    return [file.path for file in lake.landed.of_hour(hour)]


def ranges(lake: Lake) -> list[tuple[object, ...]]:
    """Return the ranges of offsets in the index."""
    return lake.connection.execute(
        "SELECT kafka_partition, first_offset, last_offset FROM"
        " (SELECT unnest(ranges, recursive := true) FROM landed_file) ORDER BY ALL"
    ).fetchall()


@pytest.mark.parametrize(
    "folder",
    ["", "kafka_timestamp_day=2026-11-24/", "created_at_hour=2026-11-24-15/", "a/b=c/", "%41 é/"],
)
def test_file_belongs_to_the_hours_of_its_records_wherever_it_lies(lake: Lake, folder: str) -> None:
    path = land_in(lake, folder, record(), record(created_at=EARLIER, kafka_offset=1))
    assert files_of(lake, HOUR) == files_of(lake, EARLIER) == [path]
    assert files_of(lake, HOUR - timedelta(hours=1)) == []
    assert lake.landed.refresh().opened == 0
    Path(path).unlink()
    assert lake.landed.refresh(whole=True).forgotten == 1
    assert files_of(lake, HOUR) == []


def test_files_directly_below_the_topic_sort_between_folders_and_stay(lake: Lake) -> None:
    paths = [land_in(lake, "", record(), name=name) for name in ("a", "z")]
    land_in(lake, "kafka_timestamp_day=2026-11-24/", record())
    assert lake.landed.refresh().opened == 3
    assert lake.landed.refresh() == (0, 0, True)
    assert set(paths) < set(files_of(lake, HOUR))


def test_index_is_read_by_another_process_and_only_new_files_are_opened(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large lake, the new files of the newest day; the others by a sweep."""
    days = [f"kafka_timestamp_day=2026-11-{day}/" for day in (22, 23, 24)]
    old = [land_in(lake, day, record(kafka_offset=number)) for number, day in enumerate(days)]
    assert lake.landed.refresh(whole=True).opened == 3
    lake.landed.forget([])
    monkeypatch.setattr(landed, "SMALL_INDEX_BYTES", 0)
    monkeypatch.setattr(index_groups, "SAVE_EVERY_FILES", 1)
    land_in(lake, days[2], record(kafka_offset=3), name="b")
    lake.landed.refresh()
    with local_lake(tmp_path) as other:
        late = land_in(other, days[0], record(kafka_offset=4), name="late")
        new = land_in(other, days[2], record(kafka_offset=5), name="c")
        assert other.landed.refresh().opened == 1
        assert {*old[:2], new} < set(files_of(other, HOUR))
        assert late not in files_of(other, HOUR)
        [(hour, content)] = other.landed.hours_indexed_since(NEVER).items()
        assert (hour, content.records, other.landed.count_records(HOUR)) == (HOUR, 5, 5)
        assert other.landed.count_records(EARLIER) == 0
        refreshed, after = other.landed.sweep("", 0)
        assert (refreshed.opened, after) == (1, "kafka_timestamp_day=2026-11-22")
        assert late in files_of(other, HOUR)
        assert other.landed.sweep(after, 60) == ((0, 0, False), "")
    assert late in files_of(lake, HOUR), "what another process saved is loaded again"


def test_hours_are_found_without_reading_the_index_of_other_days_again(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever day of arrival, past or to come, has their records; a changed one is read again."""
    days = [f"kafka_timestamp_day=2026-11-{day}/" for day in (20, 21, 22, 23, 24)]
    late, earlier, claimed, other, _ = (
        land_in(lake, day, record(kafka_offset=number, created_at=hour))
        for number, (day, hour) in enumerate(
            zip(days, (HOUR, EARLIER, HOUR + timedelta(days=9), EARLIER, HOUR), strict=True)
        )
    )
    lake.landed.refresh(whole=True)
    lake.landed.forget([])
    monkeypatch.setattr(landed, "SMALL_INDEX_BYTES", 0)
    read: list[list[str]] = []
    unloaded_with = index_groups.IndexGroups.unloaded_with

    def reading(groups: index_groups.IndexGroups, hours: list[datetime]) -> list[str]:
        read.append([Path(path).stem[-2:] for path in unloaded_with(groups, hours)])
        return unloaded_with(groups, hours)

    monkeypatch.setattr(index_groups.IndexGroups, "unloaded_with", reading)
    with local_lake(tmp_path) as opened:
        assert late in files_of(opened, HOUR)
        assert files_of(opened, HOUR + timedelta(days=9)) == [claimed]
        assert {*files_of(opened, EARLIER)} == {earlier, other}
        assert files_of(opened, HOUR - timedelta(days=1)) == []
        assert read == [["20"], ["22"], ["21", "23"], []]
        added = land_in(lake, days[3], record(kafka_offset=9), name="b")
        lake.landed.sweep("kafka_timestamp_day=2026-11-22", 60)
        assert added in files_of(opened, HOUR)
        assert read[-1] == ["20", "23"]


def test_forgetting_a_file_leaves_the_others_of_its_day(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if another process saved the day meanwhile."""
    day = "kafka_timestamp_day=2026-11-22/"
    paths = [land_in(lake, day, record(), name=name) for name in "abc"]
    land_in(lake, "kafka_timestamp_day=2026-11-24/", record())
    lake.landed.refresh(whole=True)
    monkeypatch.setattr(landed, "SMALL_INDEX_BYTES", 0)
    with local_lake(tmp_path) as other:
        other.landed.refresh()
        other.landed.forget(paths[:1])
        assert set(files_of(other, HOUR)) & set(paths) == set(paths[1:])
    Path(paths[0]).unlink()
    lake.landed.refresh()
    lake.landed.forget(paths[1:2])
    assert set(files_of(lake, HOUR)) & set(paths) == {paths[2]}


def test_replaced_file_is_opened_again(lake: Lake) -> None:
    path = land_in(lake, "x/", record())
    assert files_of(lake, HOUR) == [path]
    land_in(lake, "x/", record(created_at=EARLIER))
    assert files_of(lake, HOUR) == []
    assert files_of(lake, EARLIER) == [path]


@pytest.mark.parametrize("damage", [b"", b"PAR1 of another age PAR1"])
def test_damaged_index_is_made_again(lake: Lake, tmp_path: Path, damage: bytes) -> None:
    path = land_in(lake, "kafka_timestamp_day=2026-11-24/", record())
    land_in(lake, "kafka_timestamp_day=2026-11-23/", record(kafka_offset=1))
    lake.landed.refresh(whole=True)
    for file in lake.parquet_files(lake.layout.landed_index()):
        Path(file.path).write_bytes(damage)
    with local_lake(tmp_path) as other:
        assert path in files_of(other, HOUR)


def test_damaged_index_of_a_large_lake_is_made_again(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [land_in(lake, f"kafka_timestamp_day=2026-11-{day}/", record()) for day in (22, 23)]
    land_in(lake, "kafka_timestamp_day=2026-11-24/", record())
    lake.landed.refresh(whole=True)
    monkeypatch.setattr(landed, "SMALL_INDEX_BYTES", 0)
    for file in lake.parquet_files(lake.layout.landed_index())[:2]:
        Path(file.path).write_bytes(b"damaged")
    with local_lake(tmp_path) as other:
        assert set(paths) < set(files_of(other, HOUR))


def test_offsets_are_indexed_as_ranges(lake: Lake) -> None:
    """A duplicate is once in the ranges, and each time in the rows; both namings are the same."""
    offsets = [(0, 4), (0, 5), (0, 5), (0, 9), (1, 5), (1, 6)]
    land_in(lake, "x/", *(record(kafka_partition=p, kafka_offset=offset) for p, offset in offsets))
    lake.landed.refresh()
    assert ranges(lake) == [(0, 4, 5), (0, 9, 9), (1, 5, 6)]
    assert lake.connection.execute("SELECT sum(rows) FROM landed_file").fetchone() == (6,)


def test_file_with_the_columns_of_an_older_lake_is_indexed_the_same(lake: Lake) -> None:
    """Until 2026-11-26 the coordinates had names that Iceberg reserves."""
    new = land_in(lake, "x/", record(kafka_partition=1, kafka_offset=7))
    old = Path(new).with_name("old.parquet")
    lake.connection.execute(
        "COPY (SELECT * RENAME (kafka_partition AS _partition, kafka_offset AS _offset,"
        f" kafka_timestamp AS _ts) FROM read_parquet('{new}')) TO '{old}'"
    )
    Path(new).unlink()
    assert files_of(lake, HOUR) == [str(old)]
    assert ranges(lake) == [(1, 7, 7)]


def test_file_without_rows_is_opened_once(lake: Lake) -> None:
    land_in(lake, "x/")
    assert lake.landed.refresh().opened == 1
    assert lake.landed.refresh() == (0, 0, True)


def test_foreign_files_stop_nothing(lake: Lake) -> None:
    """A file of another make, one with other types, one that is damaged within."""
    good = land_in(lake, "x/", *(record(uri=f"{n}", kafka_offset=n) for n in range(500)))
    folder = Path(good).parent
    lake.connection.execute(f"COPY (SELECT 1 AS a) TO '{folder}/foreign.parquet'")
    lake.connection.execute(
        f"COPY (SELECT 'yesterday' AS created_at, 1 AS kafka_partition) TO '{folder}/typed.parquet'"
    )
    content = bytearray(Path(good).read_bytes())
    content[100:2000] = b"\xff" * 1900
    Path(folder, "damaged.parquet").write_bytes(content)
    assert good in files_of(lake, HOUR)
    unreadable = {file.path for file in lake.landed.unreadable()}
    assert unreadable >= {str(folder / "typed.parquet"), str(folder / "foreign.parquet")}
    faults = lake.landed.mark_unreadable([good, str(folder / "damaged.parquet")])
    assert [Path(file.path).name for file in faults] == ["damaged.parquet"]
    assert files_of(lake, HOUR) == [good]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("uri, created_at, server", "lack coordinates"),  # of another make
        ("* EXCLUDE (kafka_partition, kafka_offset)", "lack coordinates"),
        ("* REPLACE (NULL::BIGINT AS kafka_offset)", "lack coordinates"),
        ("* EXCLUDE kafka_timestamp", "lack coordinates"),
        ("* REPLACE (NULL::VARCHAR AS base_url)", "lack coordinates"),
        ("* REPLACE (created_at::VARCHAR AS created_at)", "created_at"),
    ],
)
def test_valid_file_that_the_sink_did_not_write_is_named_and_in_no_hour(
    lake: Lake, columns: str, reason: str
) -> None:
    """Its rows have no Kafka coordinates, or are no records at all. Shows G10."""
    good = land_in(lake, "x/", record(uri="good"))
    foreign = str(Path(good).with_name("foreign.parquet"))
    rows = f"SELECT {columns} FROM read_parquet('{good}')"
    lake.connection.execute(f"COPY ({rows}) TO '{foreign}'")
    assert files_of(lake, HOUR) == [good]
    lake.landed.refresh(whole=True)
    [named] = lake.landed.unreadable()
    assert named.path == foreign
    assert named.is_foreign
    assert reason in named.reason
    assert ranges(lake) == [(0, 0, 0)]


def test_file_whose_other_columns_have_other_types_is_named_once_it_stands_in_the_way(
    lake: Lake,
) -> None:
    """A count that is a text would make texts of all counts of the hour. Shows G10."""
    good = land_in(lake, "x/", record())
    foreign = str(Path(good).with_name("foreign.parquet"))
    rows = f"SELECT * REPLACE ('many' AS words) FROM read_parquet('{good}')"
    lake.connection.execute(f"COPY ({rows}) TO '{foreign}'")
    lake.landed.refresh()
    [named] = lake.landed.mark_unreadable([good, foreign])
    assert (named.path, named.is_foreign) == (foreign, True)
    assert "words" in named.reason


def test_object_store_that_fails_makes_no_file_unreadable(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is remembered but what a file itself says."""
    path = land_in(lake, "x/", record())

    def failing(name: str) -> str:
        if name == "lake/index_landed_files":
            raise duckdb.HTTPException("HTTP Error: 503 Service Unavailable")
        return queries.query(name)

    with monkeypatch.context() as store:
        store.setattr("mastodon_pipeline.lake.contents.query", failing)
        with pytest.raises(duckdb.HTTPException):
            lake.landed.refresh()
    assert files_of(lake, HOUR) == [path]


def test_files_removed_since_they_were_listed_are_left_out(lake: Lake) -> None:
    """Maintenance may be faster."""
    paths = [land_in(lake, "x/", record(kafka_offset=n), name=f"{n}") for n in range(5)]
    files = lake.parquet_files(lake.layout.landed())
    lake.landed.refresh()
    lake.landed.forget(paths)
    Path(paths[2]).unlink()
    contents = Contents(lake.connection, lake.list_files, lake.empty_record)
    contents.open("x", files, HOUR)
    assert set(lake.landed.of_hours([HOUR])[HOUR]) == {*files[:2], *files[3:]}
    assert lake.landed.unreadable() == ()


def test_times_of_no_calendar_have_no_hour(lake: Lake) -> None:
    """The year 1 is a time that Parquet and DuckDB can hold."""
    ancient = datetime(1, 1, 1, tzinfo=UTC)
    path = land_in(lake, "x/", record(created_at=ancient), record(kafka_offset=1))
    assert files_of(lake, HOUR) == [path]
    indexed = lake.landed.hours_indexed_since(ancient)
    assert {hour: content.records for hour, content in indexed.items()} == {None: 1, HOUR: 1}


def test_lake_that_stays_open_lists_what_follows_the_newest_file(lake: Lake) -> None:
    """Until the next complete refresh, which sees all: files between others, and those that go."""
    lake.landed.clock = lambda: HOUR
    folder = f"kafka_timestamp_day={HOUR:%Y-%m-%d}/"
    lake.landed.complete_every_seconds = 3600.0
    land_in(lake, folder, record(uri="b"), name="b")
    assert lake.landed.refresh().opened == 1
    later = [land_in(lake, folder, record(uri=name), name=name) for name in ("a", "c")]
    next_day = f"kafka_timestamp_day={HOUR + timedelta(days=1):%Y-%m-%d}/"
    later.append(land_in(lake, next_day, record(uri="d"), name="a"))
    assert lake.landed.refresh() == (2, 0, True)
    assert lake.landed.refresh() == (0, 0, True)
    assert later[0] not in {file.path for file in lake.landed.of_hours([HOUR])[HOUR]}
    lake.landed.complete_every_seconds = 0.0
    Path(later[1]).unlink()
    assert lake.landed.refresh() == (1, 1, True)
    files = {file.path for file in lake.landed.of_hours([HOUR])[HOUR]}
    assert later[0] in files
    assert later[1] not in files
