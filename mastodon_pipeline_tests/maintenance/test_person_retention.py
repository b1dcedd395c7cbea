"""After PERSON_RETENTION_DAYS nothing in a lake leads to a person; everything counts as before."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.listening.records.people import pseudonym
from mastodon_pipeline.maintenance.forgetting import _save_names, forget_again
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.maintenance.person_retention import retire_persons
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.charts.chart import chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.inputs.clock_skew import HOUR as ONE_HOUR
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.tables.daily import APP_USAGE
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
    rows,
)
from mastodon_pipeline_tests.support.prepared_lake import PreparedLake
from mastodon_pipeline_tests.support.retiring import (
    COPY,
    EARLIER,
    HOURS,
    LATER,
    NOW,
    ONE_DAY,
    OTHERS,
    OWN,
    PLANTED,
    SALT,
    TOOTS,
    assert_checks_are_green,
    build,
    counts,
    fill,
    of_hour,
    remove_landed_files,
    retire,
    shown,
)

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> PreparedLake:
    return PreparedLake(tmp_path_factory.mktemp("filled"), fill, SALT)


@pytest.fixture
def lake(filled: PreparedLake) -> Iterator[Lake]:
    """Toots of three days, and their tables."""
    with filled.copy() as lake:
        yield lake


@pytest.fixture
def empty_lake(tmp_path: Path) -> Iterator[Lake]:
    with local_lake(tmp_path, salt=SALT) as lake:
        yield lake


@pytest.mark.parametrize("removed", [False, True])
def test_old_days_name_nobody_and_count_as_before(lake: Lake, removed: bool) -> None:
    """Whether landed files of theirs are left or not; younger days stay. Shows G28 and P8."""
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


def test_dry_run_changes_nothing_and_says_how_much_would(lake: Lake) -> None:
    before = {file.path: file.etag for file in lake.list_files(f"{lake.layout.root}/")}
    report = retire(lake, dry_run=True)
    assert (report.hours, report.landed_files) == ([EARLIER, HOUR], 2)
    after = {file.path: file.etag for file in lake.list_files(f"{lake.layout.root}/")}
    assert {path for path in after if after[path] != before.get(path)} <= {
        path for path in after if "/index/" in path
    }
    assert not lake.forgotten.current()


def test_nothing_is_retired_unless_it_is_asked_for(empty_lake: Lake) -> None:
    values = Settings(sink="s3", person_salt=SecretStr(SALT))
    bucket = LocalBucket(Path(empty_lake.layout.root)).client
    remover = BucketRemover(bucket, values, None, str)
    assert retire_persons(values, bucket, empty_lake, remover, NOW) is None


def test_toot_of_a_clock_that_runs_ahead_counts_once_on_both_sides_of_the_retention(
    empty_lake: Lake,
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
    land(empty_lake, ahead, again, other)
    first, second = midnight - ONE_HOUR, midnight
    build(empty_lake, first, second)
    assert len(rows(empty_lake, empty_lake.layout.toots(second))) == 1
    retire(empty_lake)
    land(empty_lake, again | {"kafka_offset": 7}, name="late")
    build(empty_lake, second)
    assert [row["username"] for row in rows(empty_lake, empty_lake.layout.toots(second))] == [
        "annabel"
    ]
    assert_checks_are_green(empty_lake, first, second)


def test_person_can_be_forgotten_after_the_names_are_gone(lake: Lake) -> None:
    """Then the hashtags go as well, by the same pseudonym. Shows P7 and P8."""
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
    retire(lake)
    for salt in ("another", ""):
        with pytest.raises(SettingsError, match="PERSON_SALT"):
            build_hours(replace(lake, salt=salt), HOUR)


def test_days_without_a_salt_is_an_error_that_names_the_fix(
    empty_lake: Lake, monkeypatch: pytest.MonkeyPatch
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
    bucket = LocalBucket(Path(empty_lake.layout.root)).client
    remover = BucketRemover(bucket, values, None, str)
    with pytest.raises(SettingsError, match="PERSON_SALT"):
        retire_persons(values, bucket, replace(empty_lake, salt=""), remover, NOW)


def test_accounts_of_another_salt_or_none_are_removed(lake: Lake) -> None:
    """Anybody can try names on hashes without a salt. Shows P8."""
    build(replace(lake, salt=""), *HOURS)
    build(lake, *HOURS)
    retire(lake)
    prefix = lake.layout.all_accounts()
    assert all(
        file.path.startswith(f"{prefix}{lake.accounts_key}") for file in lake.list_files(prefix)
    )
    assert lake.accounts_key
