"""After PERSON_RETENTION_DAYS nothing in a lake leads to a person; everything counts as before."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.listening.records.people import pseudonym
from mastodon_pipeline.maintenance.forgetting import _save_names, forget_again
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.maintenance.person_retention import PersonRetention, retire_persons
from mastodon_pipeline.maintenance.verification import why_not_verified
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.charts.chart import chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.checks.active_users import active_users_equal_recount
from mastodon_pipeline.usage.checks.days import (
    day_equals_its_hours,
    mentions_are_possible,
    toots_sum_to_the_day,
)
from mastodon_pipeline.usage.checks.hashtags import hashtags_equal_recount
from mastodon_pipeline.usage.checks.hours import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.inputs.clock_skew import HOUR as ONE_HOUR
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.tables.daily import APP_USAGE, DAILY_TABLES, TERM_MENTIONS, build_daily
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_bucket import LocalBucket
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    in_order,
    land,
    local_lake,
    record,
    rows,
    write_parquet,
)

SALT = "a salt"
ONE_DAY = timedelta(days=1)
NOW = datetime.combine(DAY, datetime.min.time(), UTC) + 91 * ONE_DAY
"""A day after `DAY` is 90 days old."""
EARLIER, LATER = HOUR - ONE_DAY, HOUR + ONE_DAY
"""Hours of the days around: that before is as old, that after is not."""
HOURS = (EARLIER, HOUR, LATER)
PLANTED = ("ann", "plantedword", "plantedpage", "plantededit", "/objects/7")
OWN = record(
    uri="https://one.example/users/ann/statuses/1",
    url="https://one.example/@ann/plantedpage",
    username="ann",
    acct="ann",
    mastodon_text="plantedword, often and often",
    tags=2,
    tag_names=["Cats", "dogs"],
)
COPY = OWN | {
    "base_url": "https://two.example",
    "status_id": "9",
    "acct": "ann@one.example",
    "mastodon_text": "plantededit",
}
OTHERS = record(
    uri="https://three.example/objects/7",
    status_id="2",
    username="annabel",
    acct="annabel@three.example",
    server="three.example",
    bot=True,
)
OPTED_OUT = record(
    uri="https://one.example/users/annie/statuses/5",
    status_id="5",
    username=pseudonym(SALT, "annie@one.example"),
    acct=pseudonym(SALT, "annie@one.example"),
    mastodon_text="",
    tags=1,
)
OPTED_OUTS_COPY = OPTED_OUT | {
    "base_url": "https://two.example",
    "status_id": "55",
    "acct": "annie@one.example",
    "username": "annie",
    "mastodon_text": "plantedword",
    "tag_names": ["birds"],
}
TOOTS = (OWN, COPY, OTHERS, OPTED_OUT, OPTED_OUTS_COPY)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with local_lake(tmp_path, salt=SALT) as lake:
        yield lake


def of_hour(hour: datetime, *records: Record) -> list[Record]:
    """Return records as they would be of another hour, with other uris and ids."""
    day = f"{hour:%d}"
    return [
        each
        | {
            "uri": each["uri"] and f"{each['uri']}{day}",
            "status_id": f"{each['status_id']}{day}",
            "created_at": hour,
            "ingested_at": hour + (each["ingested_at"] - HOUR),
        }
        for each in records
    ]


def fill(lake: Lake) -> None:
    """Land toots of three days, and build their tables, counting a word of their texts."""
    for hour in HOURS:
        land(lake, *of_hour(hour, *in_order(*TOOTS)))
    build(lake, *HOURS)


def build(lake: Lake, *hours: datetime) -> None:
    build_hours(lake, *hours)
    for day in sorted({hour.date() for hour in hours}):
        for table in DAILY_TABLES:
            if table is TERM_MENTIONS:
                build_daily(lake, day, table, terms=["often"])
            else:
                table.build(lake, day)


def retire(lake: Lake, days: int = 90, now: datetime = NOW, **options: bool) -> PersonRetention:
    """Run this part of maintenance on the local lake."""
    values = Settings(sink="s3", person_retention_days=days, person_salt=SecretStr(SALT))
    bucket = LocalBucket(Path(lake.layout.root)).client
    remover = BucketRemover(bucket, values, None, str)
    report = retire_persons(values, bucket, lake, remover, now, **options)
    assert report is not None
    return report


def remove_landed_files(lake: Lake, hour: datetime) -> None:
    """Remove an hour's landed files, as maintenance does past RAW_RETENTION_DAYS."""
    write_parquet(lake.connection, f"{lake.layout.removed_hour(hour)}a.parquet", [record()])
    for file in lake.parquet_files(lake.layout.landed_hour(hour)):
        Path(file.path).unlink()
    lake.landed.refresh(whole=True)


def counts(lake: Lake) -> dict[str, list[Record]]:
    """Return the rows of all tables of counts, by their files."""
    tables = [table for table in (*HOURLY_TABLES, *DAILY_TABLES) if table.name != "toots"]
    return {
        file.path: [_without_accounts(row) for row in rows(lake, file.path)]
        for table in tables
        for file in lake.parquet_files(lake.layout.table(table.name))
    }


def _without_accounts(row: Record) -> Record:
    return {name: value for name, value in row.items() if not name.startswith("most_frequent_")}


def shown(lake: Lake, *days: date) -> dict[str, set[str]]:
    """Return the planted strings in the lake's files, by their paths, also compressed ones."""
    objects: dict[str, set[str]] = {}
    for path in Path(lake.layout.root).rglob("*"):
        if not path.is_file() or (days and not any(str(day) in str(path) for day in days)):
            continue
        contents = [path.read_bytes().decode("latin-1")]
        if path.suffix == ".parquet":
            contents += map(repr, rows(lake, str(path)))
        words = {word for word in PLANTED for content in contents if word in content.lower()}
        if words:
            objects[str(path)] = words
    return objects


def assert_checks_are_green(lake: Lake, *hours: datetime) -> None:
    days = sorted({hour.date() for hour in hours})
    findings = [
        hours_equal_recount(lake, hours),
        no_duplicate_toots(lake, hours),
        hashtags_equal_recount(lake, "hashtag_usage", hours),
        day_equals_its_hours(lake, "daily_usage", days),
        mentions_are_possible(lake, "term_mentions", days),
        active_users_equal_recount(lake, "active_users", days),
        *(
            toots_sum_to_the_day(lake, name, days)
            for name in ("app_usage", "hour_of_day_usage", "language_usage", "media_usage")
        ),
    ]
    for finding in findings:
        assert finding.faults == ()
        assert finding.compared > 0
    for hour in hours:
        landed = lake.landed.of_hour(hour)
        if landed:
            assert why_not_verified(lake, hour, landed) is None


@pytest.mark.parametrize("removed", [False, True])
def test_old_days_name_nobody_and_count_as_before(lake: Lake, removed: bool) -> None:
    """Whether landed files of theirs are left or not; younger days stay. Shows G28 and P8."""
    fill(lake)
    if removed:
        remove_landed_files(lake, HOUR)
    (chart,) = APP_USAGE.charts
    draw_chart(lake, chart, APP_USAGE.name, DAY)
    before = counts(lake)
    assert {word for words in shown(lake).values() for word in words} == {*PLANTED}
    report = retire(lake)
    assert report.until.date() == DAY + ONE_DAY
    assert report.hours == [EARLIER, HOUR]
    assert report.landed_files == (1 if removed else 2)
    assert report.left == []
    assert counts(lake) == before
    young = str(LATER.date())
    assert {path for path in shown(lake) if young not in path} == set()
    assert shown(lake, LATER.date())
    assert_checks_are_green(lake, *HOURS)
    assert chart_shows_its_table(lake, chart, APP_USAGE.name, [DAY], NOW).faults == ()
    assert scan(lake, Cursor(), NOW, EARLIER.date()).stale_hours == ()
    assert scan(lake, Cursor(), NOW, EARLIER.date()).stale_days == ()


def test_old_toot_keeps_what_is_counted(lake: Lake) -> None:
    """Its hashtags, its home server, who saw it; not those hashtags that were withheld."""
    fill(lake)
    before = rows(lake, lake.layout.toots(HOUR))
    retire(lake)
    after = rows(lake, lake.layout.toots(HOUR))
    hidden = {"uri", "status_id", "username", "acct", "url", "mastodon_text"}

    def remaining(row: Record) -> Record:
        return {name: value for name, value in row.items() if name not in hidden}

    assert sorted(map(remaining, after), key=repr) == sorted(map(remaining, before), key=repr)
    own = next(row for row in after if row["tag_names"] == ["Cats", "dogs"])
    assert own["username"] == pseudonym(SALT, "ann@one.example")
    assert own["uri"].startswith("https://one.example/~")
    assert (own["url"], own["mastodon_text"]) == ("", "")
    assert len(own["seen_by"]) == 2


@pytest.mark.parametrize("removed", [False, True])
def test_late_toot_and_replay_of_an_old_hour_count_once_and_name_nobody(
    lake: Lake, removed: bool
) -> None:
    """At once in the tables, in the landed files after the next run. Shows G12, G18, G28 and P8."""
    fill(lake)
    if removed:
        remove_landed_files(lake, HOUR)
    retire(lake)
    before, toots = counts(lake), rows(lake, lake.layout.toots(HOUR))
    land(lake, *of_hour(HOUR, *in_order(*TOOTS)), name="replay")
    build(lake, HOUR)
    assert counts(lake) == before
    assert rows(lake, lake.layout.toots(HOUR)) == toots
    late = OWN | {"uri": "https://one.example/users/ann/statuses/99", "status_id": "99"}
    land(lake, *of_hour(HOUR, late), name="late")
    build(lake, HOUR)
    assert len(rows(lake, lake.layout.toots(HOUR))) == len(toots) + 1
    [of_server] = [
        row
        for row in rows(lake, lake.layout.toots_per_server(HOUR))
        if row["server"] == "one.example"
    ]
    assert (of_server["toots"], of_server["users"]) == (3, 2)
    assert {path for path in shown(lake, DAY) if "topics/" not in path} == set()
    assert shown(lake, DAY)
    assert_checks_are_green(lake, HOUR)
    report = retire(lake)
    assert report.landed_files == 2
    assert shown(lake, DAY) == {}
    assert len(rows(lake, lake.layout.toots(HOUR))) == len(toots) + 1
    assert_checks_are_green(lake, HOUR)


@pytest.mark.parametrize("by_uri", [False, True])
def test_late_delete_of_an_old_toot_is_applied(lake: Lake, by_uri: bool) -> None:
    """By its uri, or by the observing server's id: both are hashes by then. Shows G28."""
    fill(lake)
    remove_landed_files(lake, HOUR)
    retire(lake)
    [own] = of_hour(HOUR, OWN)
    late = delete(uri=own["uri"] if by_uri else "", status_id=own["status_id"], server="")
    land(lake, late, name="late")
    build(lake, HOUR)
    deleted = [row for row in rows(lake, lake.layout.toots(HOUR)) if row["deleted"]]
    assert [row["username"] for row in deleted] == [pseudonym(SALT, "ann@one.example")]
    assert_checks_are_green(lake, HOUR)


def test_doing_it_again_changes_nothing(lake: Lake) -> None:
    """Nor does a setting that was raised, or switched off. Shows G18 and G28."""
    fill(lake)
    retire(lake)
    before = {file.path: file.etag for file in _tables(lake)}
    for days in (90, 1000, 0):
        report = retire(lake, days)
        assert report.until.date() == DAY + ONE_DAY
        assert (report.hours, report.landed_files) == ([], 0)
    assert {file.path: file.etag for file in _tables(lake)} == before


def _tables(lake: Lake) -> list[StoredFile]:
    parts = ("topics/", "toots/", "usage/", "index/accounts/")
    root = lake.layout.root
    return [file for part in parts for file in lake.list_files(f"{root}/{part}")]


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

            def put(replaced: StoredFile | None, path: str, local: Path) -> bool:
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


def test_dry_run_changes_nothing_and_says_how_much_would(lake: Lake) -> None:
    fill(lake)
    before = {file.path: file.etag for file in lake.list_files(f"{lake.layout.root}/")}
    report = retire(lake, dry_run=True)
    assert (report.hours, report.landed_files) == ([EARLIER, HOUR], 2)
    after = {file.path: file.etag for file in lake.list_files(f"{lake.layout.root}/")}
    assert {path for path in after if after[path] != before.get(path)} <= {
        path for path in after if "/index/" in path
    }
    assert not lake.forgotten.current()


def test_nothing_is_retired_unless_it_is_asked_for(lake: Lake) -> None:
    values = Settings(sink="s3", person_salt=SecretStr(SALT))
    bucket = LocalBucket(Path(lake.layout.root)).client
    remover = BucketRemover(bucket, values, None, str)
    assert retire_persons(values, bucket, lake, remover, NOW) is None


def test_toot_of_a_clock_that_runs_ahead_counts_once_on_both_sides_of_the_retention(
    lake: Lake,
) -> None:
    """The hour before midnight has it under a hash, the one after under its uri. Shows G28."""
    midnight = datetime.combine(DAY + ONE_DAY, datetime.min.time(), UTC)
    early = midnight - timedelta(minutes=2)
    ahead = OWN | {"created_at": early, "ingested_at": early - timedelta(minutes=5)}
    again = COPY | {
        "created_at": midnight + timedelta(minutes=2),
        "ingested_at": midnight - timedelta(minutes=3),
    }
    other = OTHERS | {"created_at": midnight}
    land(lake, ahead, again, other)
    first, second = midnight - ONE_HOUR, midnight
    build(lake, first, second)
    assert len(rows(lake, lake.layout.toots(second))) == 1
    retire(lake)
    land(lake, again | {"kafka_offset": 7}, name="late")
    build(lake, second)
    assert [row["username"] for row in rows(lake, lake.layout.toots(second))] == ["annabel"]
    assert_checks_are_green(lake, first, second)


def test_person_can_be_forgotten_after_the_names_are_gone(lake: Lake) -> None:
    """Then the hashtags go as well, by the same pseudonym. Shows P7 and P8."""
    fill(lake)
    remove_landed_files(lake, EARLIER)
    retire(lake)
    _save_names(lake, ["ann@one.example"], [])
    values = Settings(sink="s3", person_salt=SecretStr(SALT))
    bucket = LocalBucket(Path(lake.layout.root)).client
    report = forget_again(values, bucket, lake, BucketRemover(bucket, values, None, str))
    assert report is not None
    assert report.left == []
    for hour in HOURS:
        assert all("Cats" not in row["tag_names"] for row in rows(lake, lake.layout.toots(hour)))
        tags = rows(lake, lake.layout.hourly("hashtag_usage", hour))
        assert all(row["tag"] != "cats" for row in tags)
    assert_checks_are_green(lake, *HOURS)


def test_lake_with_nameless_days_is_not_built_with_another_salt(lake: Lake) -> None:
    """Late toots would count twice. Shows G28."""
    fill(lake)
    retire(lake)
    for salt in ("another", ""):
        with pytest.raises(SettingsError, match="PERSON_SALT"):
            build_hours(replace(lake, salt=salt), HOUR)


def test_days_without_a_salt_is_an_error_that_names_the_fix(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the settings have the object store's keys; without these, when it is applied."""
    monkeypatch.setenv("PERSON_RETENTION_DAYS", "90")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody's")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("PERSON_SALT", raising=False)
    with pytest.raises(SettingsError, match=r"PERSON_RETENTION_DAYS.*PERSON_SALT.*openssl rand"):
        load_settings()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    values = load_settings(sink="s3")
    bucket = LocalBucket(Path(lake.layout.root)).client
    remover = BucketRemover(bucket, values, None, str)
    with pytest.raises(SettingsError, match="PERSON_SALT"):
        retire_persons(values, bucket, replace(lake, salt=""), remover, NOW)


def test_accounts_of_another_salt_or_none_are_removed(lake: Lake) -> None:
    """Anybody can try names on hashes without a salt. Shows P8."""
    fill(lake)
    build(replace(lake, salt=""), *HOURS)
    build(lake, *HOURS)
    retire(lake)
    prefix = lake.layout.all_accounts()
    assert all(
        file.path.startswith(f"{prefix}{lake.accounts_key}") for file in lake.list_files(prefix)
    )
    assert lake.accounts_key


Step = Callable[[Lake], None]


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
