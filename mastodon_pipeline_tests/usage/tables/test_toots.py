"""`toots`: landed records become one row a toot, whatever happened on the way."""

import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.usage.checks.tables import no_duplicate_toots
from mastodon_pipeline.usage.tables.building import build_toots
from mastodon_pipeline.usage.tables.columns import TOOTS
from mastodon_pipeline_tests.support.local_lake import (
    HOUR,
    Record,
    delete,
    in_order,
    land,
    record,
    rows,
)


def built(lake: Lake) -> list[Record]:
    """The hour's toots, built now."""
    return rows(lake, build_toots(lake, HOUR).path)


def test_a_record_that_landed_twice_is_one_toot(lake: Lake) -> None:
    """The sink delivers at least once: the same partition and offset may stand in two files."""
    land(lake, record(), name="first")
    land(lake, record(), name="again")
    assert [toot["uri"] for toot in built(lake)] == ["https://one.example/1"]


def test_a_toot_seen_by_two_servers_is_one_toot(lake: Lake) -> None:
    """The uri is the identity; each server has its own id for it."""
    copy = {"base_url": "https://two.example", "status_id": "77", "acct": "ada@one.example"}
    land(lake, *in_order(record(app="Tusky"), record(**copy)))
    (toot,) = built(lake)
    assert toot["seen_by"] == ["https://one.example", "https://two.example"]
    assert toot["app"] == "Tusky", "only the home server tells the application"


EDITED = record(
    event="status.update", edited_at=HOUR + timedelta(minutes=5), mastodon_text="hello, world"
)
EDITED_AGAIN = record(
    event="status.update", edited_at=HOUR + timedelta(minutes=9), mastodon_text="good-bye"
)


@pytest.mark.parametrize("order", list(itertools.permutations([record(), EDITED, EDITED_AGAIN])))
def test_the_newest_edit_wins_in_any_order(lake: Lake, order: tuple[Record, ...]) -> None:
    """A server that federates late may tell of the first version last."""
    land(lake, *in_order(*order))
    (toot,) = built(lake)
    assert toot["mastodon_text"] == "good-bye"
    assert toot["edited_at"] == EDITED_AGAIN["edited_at"]


def test_of_one_version_the_latest_reading_wins(lake: Lake) -> None:
    """Favourites are those of the newest reading."""
    land(lake, *in_order(record(favourites=1), record(favourites=4)))
    assert [toot["favourites"] for toot in built(lake)] == [4]


TAGGED = record(tags=1, tag_names=["cats"])


@pytest.mark.parametrize("order", list(itertools.permutations([TAGGED, EDITED, delete()])))
def test_a_delete_leaves_the_row_without_text_in_any_order(
    lake: Lake, order: tuple[Record, ...]
) -> None:
    """The toot was published, and counts; its words are gone."""
    land(lake, *in_order(*order))
    (toot,) = built(lake)
    assert (toot["deleted"], toot["mastodon_text"], toot["tag_names"]) == (True, "", [])
    assert toot["username"] == "ada"


def test_a_delete_without_uri_is_resolved_by_the_observing_servers_id(lake: Lake) -> None:
    """A listener that restarted knows the id alone; another server's same id is another toot."""
    other = record(uri="https://two.example/1", base_url="https://two.example")
    land(lake, *in_order(record(), other, delete(uri="")))
    assert {toot["uri"]: toot["deleted"] for toot in built(lake)} == {
        "https://one.example/1": True,
        "https://two.example/1": False,
    }


def test_a_delete_of_a_toot_never_seen_gives_no_row(lake: Lake) -> None:
    """Nothing is known of it but that it is gone."""
    land(lake, delete(uri="https://one.example/9", status_id="9"))
    assert built(lake) == []


def test_the_observer_of_a_delete_alone_has_not_seen_the_toot(lake: Lake) -> None:
    """`seen_by` names the servers that listed it."""
    land(lake, *in_order(record(), delete(base_url="https://two.example", status_id="77")))
    assert [toot["seen_by"] for toot in built(lake)] == [["https://one.example"]]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_text_withheld_by_the_home_server_comes_back_by_no_copy(
    lake: Lake, order: tuple[int, ...]
) -> None:
    """Servers tell noindex of their own accounts only, so other copies still have the text."""
    told = [
        record(mastodon_text=""),
        record(base_url="https://two.example", status_id="77"),
        {**EDITED, "base_url": "https://two.example", "status_id": "77"},
    ]
    land(lake, *in_order(*(told[place] for place in order)))
    (toot,) = built(lake)
    assert (toot["mastodon_text"], toot["characters"], toot["deleted"]) == ("", 5, False)


def test_a_picture_without_words_withholds_nothing(lake: Lake) -> None:
    """Empty text is no noindex where there was none to begin with: a later edit is kept."""
    land(lake, *in_order(record(mastodon_text="", characters=0, media=1), EDITED))
    assert [toot["mastodon_text"] for toot in built(lake)] == ["hello, world"]


AHEAD = timedelta(minutes=5)
"""How far a clock may be ahead of ours; of one that is further, our time and this is kept."""
NEXT = HOUR + timedelta(hours=1)


def clamped(read_at: datetime, **fields: Any) -> Record:
    """A telling, read at this time, of a toot whose clock is years ahead."""
    return record(created_at=read_at + AHEAD, ingested_at=read_at, **fields)


FIRST = clamped(NEXT - timedelta(minutes=7))
SECOND = clamped(NEXT - timedelta(minutes=3), base_url="https://two.example", status_id="77")


def test_a_toot_whose_clock_is_ahead_counts_in_the_first_hour_that_was_told(lake: Lake) -> None:
    """Two servers tell of it before and after the full hour; others of the hour are untouched."""
    land(lake, FIRST, SECOND, record(uri="b", created_at=NEXT))
    assert [toot["uri"] for toot in built(lake)] == [FIRST["uri"]]
    assert [toot["uri"] for toot in rows(lake, build_toots(lake, NEXT).path)] == ["b"]


def test_told_after_the_claimed_time_it_is_still_one(lake: Lake) -> None:
    """A clock ten minutes ahead: the second server tells the time that the author's claimed."""
    claimed = NEXT + timedelta(minutes=3)
    land(lake, FIRST, record(created_at=claimed, ingested_at=claimed + timedelta(minutes=9)))
    assert len(built(lake)) == 1
    assert rows(lake, build_toots(lake, NEXT).path) == []


def test_two_times_that_were_claimed_are_not_reconciled(lake: Lake) -> None:
    """Not even one a little ahead: the check for duplicates tells of such a toot."""
    land(lake, record(created_at=HOUR + AHEAD, ingested_at=HOUR + timedelta(seconds=1)))
    built(lake)
    land(lake, record(created_at=NEXT, ingested_at=NEXT))
    assert len(rows(lake, build_toots(lake, NEXT).path)) == 1
    assert not no_duplicate_toots(lake, [NEXT]).passed


def test_files_from_before_a_schema_change_are_read_beside_newer_ones(lake: Lake) -> None:
    """What an old file lacks takes the field's default."""
    missing = ["language_primary", "indexable", "tag_names", "media", "sensitive"]
    land(lake, record(), name="old", without=missing)
    land(lake, record(uri="https://one.example/2", media=3), name="new")
    old, new = built(lake)
    assert [old[name] for name in missing] == ["", None, [], 0, False]
    assert new["media"] == 3


def test_an_hour_of_old_files_alone_has_every_column(lake: Lake) -> None:
    """Even where no file of the hour knows a field."""
    land(lake, record(), without=["language_primary", "edited_at"])
    assert list(built(lake)[0]) == [column.name for column in TOOTS.columns]


def test_a_field_that_this_version_does_not_know_is_left_out(lake: Lake) -> None:
    """A newer producer disturbs nobody."""
    path = f"{lake.layout.landed_hour(HOUR)}newer.parquet"
    land(lake, record(), name="plain")
    plain = f"{lake.layout.landed_hour(HOUR)}plain.parquet"
    lake.connection.read_parquet(plain).project("*, 7 AS boosts").write_parquet(path)
    assert "boosts" not in built(lake)[0]


def test_rows_are_sorted_by_server_time_and_uri(lake: Lake) -> None:
    """So that a reader who wants one server skips the others' row groups."""
    later = HOUR + timedelta(minutes=1)
    land(
        lake,
        record(uri="d", server="b.example", status_id="4"),
        record(uri="c", server="a.example", status_id="3", created_at=later),
        record(uri="b", server="a.example", status_id="2"),
        record(uri="a", server="a.example", status_id="1"),
    )
    assert [toot["uri"] for toot in built(lake)] == ["a", "b", "c", "d"]


def test_building_again_writes_the_same_bytes(lake: Lake) -> None:
    """Doing it again changes nothing."""
    land(lake, *(record(uri=f"https://one.example/{n}", status_id=str(n)) for n in range(300)))
    path = Path(build_toots(lake, HOUR).path)
    first = path.read_bytes()
    assert Path(build_toots(lake, HOUR).path).read_bytes() == first


def test_an_hour_in_which_nothing_landed_has_an_empty_table(lake: Lake) -> None:
    """With the schema of any other."""
    table = build_toots(lake, HOUR)
    described = lake.connection.read_parquet(table.path, hive_partitioning=False)
    assert (table.rows, table.kept) == (0, False)
    assert described.columns == [column.name for column in TOOTS.columns]
    assert [
        str(kind).replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") for kind in described.types
    ] == [column.type for column in TOOTS.columns]


def test_toots_whose_landed_files_are_gone_are_kept(lake: Lake) -> None:
    """Once the raw files are removed, the table is all there is."""
    land(lake, record())
    built(lake)
    Path(f"{lake.layout.landed_hour(HOUR)}a.parquet").unlink()
    table = build_toots(lake, HOUR)
    assert (table.rows, table.kept) == (1, True)


def test_only_the_hours_own_folder_is_read(lake: Lake) -> None:
    """A refresh costs what the hour costs."""
    land(lake, record(), record(uri="x", created_at=HOUR + timedelta(hours=1)))
    assert len(built(lake)) == 1


def test_the_empty_record_has_every_field_of_the_schema(lake: Lake) -> None:
    """`record.sql` and the Avro schema name the same fields, and Kafka's coordinates besides."""
    fields = [field.name for field in record_fields()]
    columns = lake.connection.read_parquet(lake.empty_record).columns
    assert columns == [*fields, "_partition", "_offset", "_ts"]
