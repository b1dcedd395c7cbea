"""What the tables are built from once somebody was forgotten, and how names are parsed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.forgotten import Forgotten
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.listening.records.people import PeopleRules, account_key, pseudonym
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.maintenance.forgetting import (
    Name,
    _save_names,
    forget_again,
    make_hour_nameless,
    parse_name,
)
from mastodon_pipeline.maintenance.nameless_files import find_naming_files
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.maintenance.verification import why_not_verified
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.charts.chart import chart_rows, chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.tables.hashtags import HASHTAG_USAGE
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_bucket import LocalBucket
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    Record,
    delete,
    in_order,
    land,
    local_lake,
    record,
    rows,
    write_parquet,
)

pytestmark = pytest.mark.thorough

SALT = "a salt"
ANN = "ann@one.example"
PLANTED = ("ann", "planted", "/users/")
OWN = record(
    uri="https://one.example/users/ann/statuses/1",
    url="https://one.example/@ann/1",
    username="Ann",
    acct="Ann",
    mastodon_text="planted words",
    tags=1,
    tag_names=["planted"],
    source="stream",
)
COPY = OWN | {"base_url": "https://two.example", "status_id": "9", "acct": "Ann@one.example"}
BY_OTHERS = record(uri="https://one.example/users/bo/statuses/2", status_id="2", username="bo")
DELETE = delete(uri=OWN["uri"], server="one.example", status_id="1")


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with local_lake(tmp_path, salt=SALT) as lake:
        (tmp_path / "forgotten").mkdir()
        yield lake


def forget(lake: Lake, name: str) -> None:
    parsed = parse_name(name)
    _save_names(
        lake,
        [parsed.account] if parsed.account else [],
        [parsed.server] if parsed.server else [],
    )


def build(lake: Lake) -> list[Record]:
    build_hours(lake, HOUR)
    return rows(lake, lake.layout.toots(HOUR))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("@Ann@One.Example", Name("ann@one.example")),
        ("ann@one.example", Name("ann@one.example")),
        ("One.Example.", Name(server="one.example")),
        ("https://one.example/", Name(server="one.example")),
        ("@ann@bücher.example", Name("ann@xn--bcher-kva.example")),
    ],
)
def test_person_and_server_are_told_apart(text: str, name: Name) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize("text", ["", "@ann", "ann", "@@one.example", "one example", "%", "a/b.c"])
def test_text_that_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="neither"):
        parse_name(text)


@pytest.mark.parametrize("name", ["@ann@one.example", "one.example"])
def test_toots_of_the_forgotten_count_and_name_nobody(lake: Lake, name: str) -> None:
    """Whichever server reported them; deletes still apply. Shows G15 and P7."""
    land(lake, *in_order(OWN, COPY, BY_OTHERS))
    before = build(lake)
    forget(lake, name)
    after = build(lake)
    assert len(after) == len(before) == 2
    own = next(row for row in after if row["username"] == pseudonym(SALT, ANN))
    assert not any(planted in repr(own).lower() for planted in PLANTED)
    assert own["uri"].startswith("https://one.example/~")
    assert own["seen_by"] == ["https://one.example", "https://two.example"]
    assert (own["mastodon_text"], own["tag_names"], own["tags"]) == ("", [], 1)
    others = next(row for row in after if row is not own)
    assert (others["username"] == "bo") is (name != "one.example")
    land(lake, *in_order(DELETE), name="later")
    assert [row["deleted"] for row in build(lake) if row["uri"] == own["uri"]] == [True]


def test_counts_stay_and_equal_a_recount(lake: Lake) -> None:
    """Distinct users as well. Shows P7."""
    land(lake, *in_order(OWN, COPY, BY_OTHERS))
    build(lake)
    before = rows(lake, lake.layout.toots_per_server(HOUR))
    forget(lake, ANN)
    build(lake)
    assert rows(lake, lake.layout.toots_per_server(HOUR)) == before
    assert hours_equal_recount(lake, [HOUR]).faults == ()
    assert why_not_verified(lake, HOUR, lake.landed.of_hour(HOUR)) is None


def test_pictures_are_drawn_again_without_hashtags_of_the_forgotten(lake: Lake) -> None:
    """Also those of days that nothing lands of any more. Shows P7."""
    (chart,) = HASHTAG_USAGE.charts
    land(lake, *in_order(OWN, BY_OTHERS | {"tags": 1, "tag_names": ["cats"]}))
    build(lake)
    build_day(lake, DAY)
    draw_chart(lake, chart, HASHTAG_USAGE.name, DAY)
    assert {*chart_rows(lake, chart, HASHTAG_USAGE.name, DAY)["spelling"]} == {"planted", "cats"}
    forget(lake, ANN)
    values = Settings(sink="s3", person_salt=SecretStr(SALT))
    bucket = LocalBucket(Path(lake.layout.root)).client
    report = forget_again(values, bucket, lake, BucketRemover(bucket, values, None, str))
    assert report is not None
    assert report.left == []
    assert {*chart_rows(lake, chart, HASHTAG_USAGE.name, DAY)["spelling"]} == {"cats"}
    later = datetime.now(UTC) + timedelta(days=1)
    finding = chart_shows_its_table(lake, chart, HASHTAG_USAGE.name, [DAY], later)
    assert (finding.compared, finding.faults) == (1, ())


def test_late_toot_of_the_forgotten_joins_its_nameless_row(lake: Lake) -> None:
    """Replayed, or read late from another server. Shows P7."""
    forget(lake, ANN)
    land(lake, *in_order(OWN))
    [first] = build(lake)
    land(lake, *in_order(COPY), name="late")
    [second] = build(lake)
    assert first["uri"] == second["uri"]
    assert len(second["seen_by"]) == 2
    assert not any(planted in repr(second).lower() for planted in PLANTED)


def test_hour_whose_landed_files_are_gone_becomes_nameless_too(lake: Lake) -> None:
    """It is the same afterwards as a build of nameless records. Shows P7."""
    land(lake, *in_order(OWN, BY_OTHERS))
    build(lake)
    forget(lake, ANN)
    expected = build(lake)
    land(lake, *in_order(OWN, BY_OTHERS))
    (Path(lake.layout.forgotten())).unlink()
    lake.forgotten.expire()
    assert build(lake) != expected
    for file in lake.parquet_files(lake.layout.landed_hour(HOUR)):
        Path(file.path).unlink()
    receipt = f"{lake.layout.removed_hour(HOUR)}a.parquet"
    write_parquet(lake.connection, receipt, [record()])
    lake.landed.refresh(whole=True)
    forget(lake, ANN)
    make_hour_nameless(lake, HOUR)
    assert rows(lake, lake.layout.toots(HOUR)) == expected
    assert hours_equal_recount(lake, [HOUR]).faults == ()


def test_files_that_name_the_forgotten_are_found_with_their_deletes(lake: Lake) -> None:
    """Shows P7."""
    forgotten = Forgotten(SALT).with_names([ANN])
    web_domain = OWN | {"uri": "https://social.example/objects/7", "url": ""}
    land(lake, *in_order(web_domain), name="toot")
    land(lake, *in_order(delete(uri=web_domain["uri"], server="")), name="delete")
    land(lake, *in_order(BY_OTHERS), name="others")
    lake.forgotten.prepare()
    files = lake.parquet_files(lake.layout.landed())
    naming = find_naming_files(lake, forgotten, files, frozenset())
    assert [Path(file.path).stem for file in naming.files] == ["delete", "toot"]
    assert naming.uris == {web_domain["uri"]}


def test_lake_with_a_list_is_not_built_without_its_salt(lake: Lake) -> None:
    """What was forgotten never comes back because a setting is missing. Shows P7."""
    land(lake, *in_order(OWN))
    forget(lake, ANN)
    with pytest.raises(SettingsError, match="PERSON_SALT"):
        build(replace(lake, salt=""))


def test_list_names_nobody(lake: Lake) -> None:
    forget(lake, ANN)
    forget(lake, "two.example")
    content = Path(lake.layout.forgotten()).read_bytes()
    assert b"ann" not in content
    assert b"two.example" not in content
    forgotten = lake.forgotten.current()
    assert forgotten.accounts == (pseudonym(SALT, account_key("Ann", "one.example")),)
    assert forgotten.servers == (pseudonym(SALT, "two.example"),)


@pytest.mark.parametrize("names", [(ANN,), ("one.example",)])
def test_listener_and_lake_make_the_same_of_a_toot(lake: Lake, names: tuple[str, ...]) -> None:
    """So that copies from before and after are one. Shows P7."""
    land(lake, *in_order(OWN))
    forget(lake, names[0])
    [expected] = build(lake)
    rules = PeopleRules(SALT, forgotten=frozenset(pseudonym(SALT, name) for name in names))
    fields = {field.name: OWN[field.name] for field in record_fields()}
    times = {name: 0 for name in ("created_at", "edited_at", "ingested_at")}
    nameless = rules.without_forgotten(TootRecord(**fields | times))
    for name in ("uri", "status_id", "username", "acct", "url", "mastodon_text", "tag_names"):
        assert getattr(nameless, name) == expected[name], name
    assert rules.without_forgotten(nameless) == nameless


def test_forgetting_in_one_hour_leaves_others_alone(lake: Lake) -> None:
    other = BY_OTHERS | {"created_at": HOUR + timedelta(hours=1)}
    land(lake, *in_order(OWN, other))
    build_hours(lake, HOUR, HOUR + timedelta(hours=1))
    before = rows(lake, lake.layout.toots(HOUR + timedelta(hours=1)))
    forget(lake, ANN)
    build_hours(lake, HOUR, HOUR + timedelta(hours=1))
    assert rows(lake, lake.layout.toots(HOUR + timedelta(hours=1))) == before


def test_dagsters_database_and_logs_hold_nothing_of_what_is_counted(
    lake: Lake, tmp_path: Path
) -> None:
    """Not even while it is in the lake: previews show no text, name or hashtag. Shows P7."""
    land(lake, *in_order(*(OWN | {"uri": f"{OWN['uri']}{number}"} for number in range(9))))
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        for job, key in (
            ("refresh_hourly_usage", f"{HOUR:%Y-%m-%d-%H:%M}"),
            ("refresh_daily_usage", f"{DAY}"),
        ):
            outcome = definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                resources={"lake": LocalLakeResource(root=lake.layout.root)},
                partition_key=key,
            )
            assert outcome.success
    assert any(b"toots_per_server" in path.read_bytes() for path in home.rglob("*.db"))
    words = (b"planted", b"ann@", b"@ann", b"/ann/")
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes().lower()
            assert not [word for word in words if word in content], path
