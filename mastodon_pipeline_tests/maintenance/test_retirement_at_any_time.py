"""Names go at any time, and their going is killed at any step: it comes to the same."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    land,
    local_lake,
    record,
    rows,
)
from mastodon_pipeline_tests.support.retiring import (
    EARLIER,
    HOURS,
    LATER,
    SALT,
    assert_checks_are_green,
    counts,
    fill,
    remove_landed_files,
    retire,
    shown,
)


class Killed(BaseException):
    """In place of a signal."""


@pytest.mark.thorough
def test_killed_anywhere_it_comes_to_the_same(tmp_path: Path) -> None:
    """At steps that change the lake, the first ones and then some. Shows G18 and G28."""
    root, filled = tmp_path / "lake", tmp_path / "filled"
    root.mkdir()
    with local_lake(root, salt=SALT) as opened:
        fill(opened)
        remove_landed_files(opened, EARLIER)
    shutil.copytree(root, filled)
    expected = _outcome(root, None)
    killed = 0
    for step in (1, 4, 12, 24, 100):
        shutil.rmtree(root)
        shutil.copytree(filled, root)
        outcome = _outcome(root, step)
        if outcome is None:
            break
        assert outcome == expected
        killed += 1
    assert killed >= 3


def _outcome(root: Path, step: int | None) -> Mapping[str, object] | None:
    """Return what is in the lake after a run that was killed at a step and run again.

    None if there is no such step.
    """
    if step is not None:
        with local_lake(root, salt=SALT) as opened:
            remaining = [step]

            def put(replaced: StoredFile | None, path: str, local: Path) -> str | None:
                remaining[0] -= 1
                if remaining[0] == 0:
                    raise Killed
                return opened.put_in_place_of(replaced, path, local)

            try:
                retire(replace(opened, put_in_place_of=put))
            except Killed:
                pass
            else:
                return None
    with local_lake(root, salt=SALT) as again:
        retire(again)
        assert {path for path in shown(again) if str(LATER.date()) not in path} == set()
        assert_checks_are_green(again, *HOURS)
        tables = {
            file.path.removeprefix(str(root)): rows(again, file.path)
            for table in (*HOURLY_TABLES, *DAILY_TABLES)
            for file in again.parquet_files(again.layout.table(table.name))
        }
        landed = again.parquet_files(again.layout.landed())
        return {**tables, "landed": sorted(repr(rows(again, file.path)) for file in landed)}


@st.composite
def records(draw: st.DrawFn) -> Record:
    """An event of few toots, as one of two servers reports it, on one of two days."""
    number, observer = draw(st.integers(1, 3)), draw(st.integers(0, 1))
    home = f"https://{('one', 'two')[number % 2]}.example"
    server = home.removeprefix("https://")
    base_url = ("https://one.example", "https://two.example")[observer]
    hour = draw(st.sampled_from([HOUR, LATER]))
    common = {
        "uri": draw(st.sampled_from([f"{home}/{hour:%d}/{number}"] * 4 + [""])),
        "status_id": f"{number}{observer}{hour:%d}",
        "base_url": base_url,
        "server": server,
        "created_at": hour + timedelta(minutes=number),
        "ingested_at": hour + timedelta(minutes=draw(st.integers(0, 9))),
    }
    if draw(st.integers(0, 4)) == 0:
        return delete(**common)
    name = f"ann{number}"
    tags = draw(st.sampled_from([[], ["cats"], ["cats", "dogs"]]))
    # A version without hashtags does not tell, once texts are gone, that its author had opted out.
    withheld = bool(tags) and draw(st.integers(0, 3)) == 0
    return record(
        **common,
        username=name,
        acct=name if base_url == home else f"{name}@{server}",
        tags=len(tags),
        tag_names=[] if withheld else tags,
        mastodon_text="" if withheld else "plantedword",
    )


@pytest.mark.thorough
@given(st.lists(st.lists(records(), min_size=1, max_size=5), min_size=1, max_size=5), st.data())
@settings(max_examples=12, deadline=None)
def test_counts_are_the_same_whenever_names_go(
    batches: list[list[Record]], data: st.DataObject
) -> None:
    """Before or after any batch lands, as if they had stayed. Shows G28."""
    numbers = count()
    batches = [[each | {"kafka_offset": next(numbers)} for each in batch] for batch in batches]
    moment = data.draw(st.integers(0, len(batches)))
    removed = data.draw(st.booleans())
    with (
        TemporaryDirectory() as plain_root,
        TemporaryDirectory() as nameless_root,
        local_lake(Path(plain_root), salt=SALT) as plain,
        local_lake(Path(nameless_root), salt=SALT) as nameless,
    ):
        for number, batch in enumerate(batches):
            if number == moment:
                _retire_all(nameless, removed)
            for each in (plain, nameless):
                land(each, *batch, name=f"batch{number}")
                _build_landed(each)
            if number + 1 == moment and removed:
                _remove_all(plain)
        if moment == len(batches):
            _retire_all(nameless, removed)
        retire(nameless)
        assert _comparable(nameless) == _comparable(plain)
        assert shown(nameless, DAY) == {}


def _retire_all(lake: Lake, removed: bool) -> None:
    if removed:
        _remove_all(lake)
    retire(lake)


def _remove_all(lake: Lake) -> None:
    for hour in (HOUR, LATER):
        if lake.landed.of_hour(hour):
            remove_landed_files(lake, hour)


def _build_landed(lake: Lake) -> None:
    lake.landed.refresh(whole=True)
    build_hours(lake, *sorted(lake.landed.of_hours([HOUR, LATER])))


def _comparable(lake: Lake) -> dict[str, list[Record]]:
    root = lake.layout.root
    return {path.removeprefix(root): table for path, table in counts(lake).items()}
