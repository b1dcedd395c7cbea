"""`toots`: landed records become one row a toot, in whatever order and however often they land."""

import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mastodon_pipeline.lake.lake import Lake, empty_record_file
from mastodon_pipeline.schemas import record_fields, schema_text
from mastodon_pipeline.usage.checks.hours import no_duplicate_toots
from mastodon_pipeline.usage.tables import hourly
from mastodon_pipeline.usage.tables.hourly import TOOTS, build_toots, carried_fields
from mastodon_pipeline_tests.support.local_lake import (
    EDITED,
    HOUR,
    Record,
    built_toots,
    delete,
    file_columns,
    in_order,
    land,
    record,
    rows,
    write_parquet,
)


def test_record_that_landed_twice_is_one_toot(lake: Lake) -> None:
    """The sink delivers at least once: the same partition and offset may be in two files.

    Shows G12.
    """
    land(lake, record(), name="first")
    land(lake, record(), name="again")
    assert [toot["uri"] for toot in built_toots(lake)] == ["https://one.example/1"]


def test_toot_seen_by_two_servers_is_one_toot(lake: Lake) -> None:
    """The uri is the identity; each server has its own id for it. Shows G12."""
    copy = {"base_url": "https://two.example", "status_id": "77", "acct": "ada@one.example"}
    land(lake, *in_order(record(app="Tusky"), record(**copy)))
    (toot,) = built_toots(lake)
    assert toot["seen_by"] == ["https://one.example", "https://two.example"]
    assert toot["app"] == "Tusky", "only the home server names the application"


EDITED_AGAIN = record(
    event="status.update", edited_at=HOUR + timedelta(minutes=9), mastodon_text="good-bye"
)


@pytest.mark.parametrize("order", list(itertools.permutations([record(), EDITED, EDITED_AGAIN])))
def test_newest_edit_wins_in_any_order(lake: Lake, order: tuple[Record, ...]) -> None:
    """A server that federates late may report the first version last. Shows G12."""
    land(lake, *in_order(*order))
    (toot,) = built_toots(lake)
    assert toot["mastodon_text"] == "good-bye"
    assert toot["edited_at"] == EDITED_AGAIN["edited_at"]


def test_latest_reading_of_a_version_wins(lake: Lake) -> None:
    """Favourites are those of the newest reading."""
    land(lake, *in_order(record(favourites=1), record(favourites=4)))
    assert [toot["favourites"] for toot in built_toots(lake)] == [4]


TAGGED = record(tags=1, tag_names=["cats"])


@pytest.mark.parametrize("order", list(itertools.permutations([TAGGED, EDITED, delete()])))
def test_deleted_toot_keeps_its_row_without_text_in_any_order(
    lake: Lake, order: tuple[Record, ...]
) -> None:
    """The toot was published, and counts; its words are gone. Shows G15 and P4."""
    land(lake, *in_order(*order))
    (toot,) = built_toots(lake)
    assert (toot["deleted"], toot["mastodon_text"], toot["tag_names"]) == (True, "", [])
    assert toot["username"] == "ada"


def test_delete_without_uri_is_resolved_by_the_observing_servers_id(lake: Lake) -> None:
    """A listener that restarted knows only the id; another server's same id is another toot."""
    other = record(uri="https://two.example/1", base_url="https://two.example")
    land(lake, *in_order(record(), other, delete(uri="")))
    assert {toot["uri"]: toot["deleted"] for toot in built_toots(lake)} == {
        "https://one.example/1": True,
        "https://two.example/1": False,
    }


def test_delete_of_a_toot_never_seen_gives_no_row(lake: Lake) -> None:
    land(lake, delete(uri="https://one.example/9", status_id="9"))
    assert built_toots(lake) == []


def test_server_that_reported_only_the_delete_has_not_seen_the_toot(lake: Lake) -> None:
    """`seen_by` names the servers that listed it."""
    land(lake, *in_order(record(), delete(base_url="https://two.example", status_id="77")))
    assert [toot["seen_by"] for toot in built_toots(lake)] == [["https://one.example"]]


def test_picture_without_words_withholds_no_later_text(lake: Lake) -> None:
    """Empty text is not taken for noindex if the toot has no characters."""
    land(lake, *in_order(record(mastodon_text="", characters=0, media=1), EDITED))
    assert [toot["mastodon_text"] for toot in built_toots(lake)] == ["hello, world"]


AHEAD = timedelta(minutes=5)
"""How far a clock may be ahead of ours; a later time is replaced by ours plus this."""
NEXT = HOUR + timedelta(hours=1)


def read_with_clock_ahead(read_at: datetime, **fields: Any) -> Record:
    """A record, read at this time, of a toot whose clock is years ahead."""
    return record(created_at=read_at + AHEAD, ingested_at=read_at, **fields)


FIRST = read_with_clock_ahead(NEXT - timedelta(minutes=7))
SECOND = read_with_clock_ahead(
    NEXT - timedelta(minutes=3), base_url="https://two.example", status_id="77"
)


def test_toot_whose_clock_is_ahead_counts_in_the_first_hour_only(lake: Lake) -> None:
    """Two servers report it, before and after the full hour; other toots are unaffected.

    Shows G12.
    """
    land(lake, FIRST, SECOND, record(uri="b", created_at=NEXT))
    assert [toot["uri"] for toot in built_toots(lake)] == [FIRST["uri"]]
    assert [toot["uri"] for toot in rows(lake, build_toots(lake, NEXT).path)] == ["b"]


def test_toot_reported_again_under_its_claimed_time_is_counted_once(lake: Lake) -> None:
    """A clock ten minutes ahead: the second server reports the time that the author's claimed."""
    claimed = NEXT + timedelta(minutes=3)
    land(lake, FIRST, record(created_at=claimed, ingested_at=claimed + timedelta(minutes=9)))
    assert len(built_toots(lake)) == 1
    assert rows(lake, build_toots(lake, NEXT).path) == []


def test_toot_claimed_at_two_times_is_counted_twice_and_reported_by_the_check(
    lake: Lake,
) -> None:
    """Also if a claimed time is a little ahead: only times that the listener wrote are merged."""
    land(lake, record(created_at=HOUR + AHEAD, ingested_at=HOUR + timedelta(seconds=1)))
    built_toots(lake)
    land(lake, record(created_at=NEXT, ingested_at=NEXT))
    assert len(rows(lake, build_toots(lake, NEXT).path)) == 1
    assert not no_duplicate_toots(lake, [NEXT]).passed


def test_files_from_before_a_schema_change_are_read_beside_newer_ones(lake: Lake) -> None:
    """A field that an old file lacks has its default. Shows G19."""
    missing = ["language_primary", "indexable", "tag_names", "media", "sensitive"]
    land(lake, record(), name="old", without=missing)
    land(lake, record(uri="https://one.example/2", media=3), name="new")
    old, new = built_toots(lake)
    assert [old[name] for name in missing] == ["", None, [], 0, False]
    assert new["media"] == 3


def test_hour_of_old_files_only_has_every_column(lake: Lake) -> None:
    """Even if no file of the hour has a field."""
    land(lake, record(), without=["language_primary", "edited_at"])
    assert list(built_toots(lake)[0]) == [column.name for column in TOOTS.columns]


def test_field_that_this_version_does_not_know_is_left_out(lake: Lake) -> None:
    """Shows G19."""
    path = f"{lake.layout.landed_hour(HOUR)}newer.parquet"
    land(lake, record(), name="plain")
    plain = f"{lake.layout.landed_hour(HOUR)}plain.parquet"
    lake.connection.read_parquet(plain).project("*, 7 AS boosts").write_parquet(path)
    assert "boosts" not in built_toots(lake)[0]


def test_rows_are_sorted_by_server_time_and_uri(lake: Lake) -> None:
    """A query for a server can skip the other servers' row groups."""
    later = HOUR + timedelta(minutes=1)
    land(
        lake,
        record(uri="d", server="b.example", status_id="4"),
        record(uri="c", server="a.example", status_id="3", created_at=later),
        record(uri="b", server="a.example", status_id="2"),
        record(uri="a", server="a.example", status_id="1"),
    )
    assert [toot["uri"] for toot in built_toots(lake)] == ["a", "b", "c", "d"]


def test_building_again_writes_the_same_bytes(lake: Lake) -> None:
    """Shows G18."""
    lake.connection.execute("SET threads = 2")
    land(lake, *(record(uri=f"https://one.example/{n}", status_id=str(n)) for n in range(300)))
    path = Path(build_toots(lake, HOUR).path)
    first = path.read_bytes()
    assert Path(build_toots(lake, HOUR).path).read_bytes() == first


def test_hour_in_which_nothing_landed_has_an_empty_table(lake: Lake) -> None:
    """It has the same columns as any other."""
    table = build_toots(lake, HOUR)
    assert (table.rows, table.unchanged) == (0, False)
    columns = [(column.name, column.type) for column in TOOTS.columns]
    assert list(file_columns(lake, table.path).items()) == columns


def test_toots_whose_landed_files_are_gone_are_left_unchanged(lake: Lake) -> None:
    land(lake, record())
    built_toots(lake)
    Path(f"{lake.layout.landed_hour(HOUR)}a.parquet").unlink()
    table = build_toots(lake, HOUR)
    assert (table.rows, table.unchanged) == (1, True)


def test_only_the_folder_of_the_hour_is_read(lake: Lake) -> None:
    land(lake, record(), record(uri="x", created_at=HOUR + timedelta(hours=1)))
    assert len(built_toots(lake)) == 1


def test_fields_that_are_carried_along_default_to_nothing() -> None:
    """The query fills a field that an old file lacks by its type, not by its own default."""
    nothing = {"texts": "", "numbers": 0, "flags": False, "lists": [], "nullable": None}
    defaults = {field.name: field.default for field in record_fields()}
    for group, names in carried_fields().items():
        assert names, "DuckDB refuses COLUMNS of no column: $" + group
        assert {name: defaults[name] for name in names} == dict.fromkeys(names, nothing[group])


ADDED_FIELDS: list[dict[str, Any]] = [
    {"name": "added_flag", "type": "boolean", "default": False, "doc": ""},
    {"name": "score", "type": ["null", "long"], "default": None, "doc": ""},
    {"name": "moods", "type": {"type": "array", "items": "string"}, "default": [], "doc": ""},
    {"name": "posted_from", "type": "string", "default": "", "doc": ""},
]


def test_field_added_to_the_record_is_carried_into_toots(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No query names it; older landed files have its default, and it survives their removal."""
    schema = json.loads(schema_text())
    fields = record_fields(json.dumps({**schema, "fields": [*schema["fields"], *ADDED_FIELDS]}))
    monkeypatch.setattr(hourly, "TOOTS", replace(TOOTS, parameters=lambda: carried_fields(fields)))
    folder = lake.layout.landed_hour(HOUR)
    land(lake, record(), name="old")
    land(lake, record(uri="b", status_id="2"), name="new")
    new = lake.connection.read_parquet(f"{folder}new.parquet")
    new.project("*, true AS added_flag, 7::BIGINT AS score, ['glad'] AS moods").create("newer")
    lake.connection.table("newer").write_parquet(f"{folder}new.parquet")
    with empty_record_file(lake.connection, fields) as empty_record:
        extended = replace(lake, empty_record=empty_record)
        toots = built_toots(extended)
        assert list(toots[0]) == [*(field.name for field in fields), "seen_by", "deleted"]
        added = [[toot[field["name"]] for field in ADDED_FIELDS] for toot in toots]
        assert added == [[True, 7, ["glad"], ""], [False, None, [], ""]]
        write_parquet(lake.connection, f"{lake.layout.removed_hour(HOUR)}a.parquet", [record()])
        assert built_toots(extended) == toots
        for name in ("old", "new"):
            Path(f"{folder}{name}.parquet").unlink()
        land(lake, record(uri="late", status_id="3"), name="late")
        assert built_toots(extended)[:2] == toots


def test_file_that_is_damaged_within_is_left_out_and_named(lake: Lake) -> None:
    """The index reads few of its columns, so the damage shows when the hour is built."""
    records = [record(uri=f"{n}", mastodon_text=f"text {n * 7919 % 1000}") for n in range(500)]
    land(lake, record(uri="good"), name="good")
    land(lake, *records, name="damaged")
    damaged = Path(f"{lake.layout.landed_hour(HOUR)}damaged.parquet")
    (place,) = lake.connection.execute(
        "SELECT data_page_offset FROM parquet_metadata(?) WHERE path_in_schema = 'mastodon_text'",
        [str(damaged)],
    ).fetchall()
    content = bytearray(damaged.read_bytes())
    content[place[0] : place[0] + 300] = b"\xff" * 300
    damaged.write_bytes(content)
    built = build_toots(lake, HOUR)
    assert (built.rows, built.input_files) == (1, 1)
    assert str(damaged) in built.notes[0]
    lake.landed.refresh(whole=True)
    assert [file.path for file in lake.landed.unreadable()] == [str(damaged)]
    assert build_toots(lake, HOUR).rows == 1
