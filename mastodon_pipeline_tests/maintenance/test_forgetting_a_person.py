"""A person is forgotten on the real stack: ten strings of theirs are in no object of the bucket.

Then everybody is, whose toots are old.

The tests of this module share one lake and run in order.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta

import fastavro
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from pydantic import SecretStr

from infra.native_stack import Stack
from mastodon_pipeline.cli.forget import forget as forget_command
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.maintenance.forgetting import forget, parse_name
from mastodon_pipeline.maintenance.maintaining import maintain
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES, build_daily
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.sink_lake import NO_WAIT, OLD, SETTINGS, SinkLake, young_lake
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]
FIRST = OLD + timedelta(days=10)
HOURS = 2
PLANTED = (
    "plantedname",
    "plantedpath",
    "plantedpage",
    "plantedtagone",
    "plantedtagtwo",
    "plantedwordone",
    "plantedwordtwo",
    "plantedwordthree",
    "plantededit",
    "plantedlate",
)
NAME = "@PlantedName@planted.example"
NAMES = SETTINGS | {
    "kafka_topic": "forgetful-topic",
    "s3_bucket": "forgetful-bucket",
    "connector_name": "forgetful-sink",
    "iceberg_table": "forgetful.raw",
}


def own_toots(number: int, text: str = "") -> list[TootRecord]:
    """Return toots of the person, as their own server reports them, and another."""
    own = [
        replace(
            record,
            uri=f"https://planted.example/users/plantedname/plantedpath/{text}{index}",
            url=f"https://planted.example/@plantedname/plantedpage{index}",
            status_id=f"{text}{index}",
            base_url="https://planted.example",
            server="planted.example",
            username="plantedname",
            acct="plantedname",
            characters=50,
            words=3,
            tags=2,
            tag_names=["plantedtagone", "plantedtagtwo"],
            mastodon_text=f"plantedwordone plantedwordtwo plantedwordthree {text}",
        )
        for index, record in enumerate(toots(number, FIRST, HOURS))
    ]
    copies = [
        replace(
            record,
            base_url="https://observer.example",
            status_id=f"7{record.status_id}",
            acct="plantedname@planted.example",
            event="status.update",
            mastodon_text="plantededit",
        )
        for record in own[::2]
    ]
    deletes = [
        TootRecord(
            event="delete",
            uri=record.uri,
            status_id=record.status_id,
            base_url=record.base_url,
            server=record.server,
            created_at=record.created_at,
            ingested_at=record.ingested_at,
        )
        for record in own[:3]
    ]
    return [*own, *copies, *deletes]


@pytest.fixture(scope="module")
def sink_lake(stack: Stack) -> Iterator[SinkLake]:
    """A lake of this module's own."""
    with young_lake(NAMES) as lake:
        yield lake


@pytest.fixture(scope="module")
def settings(sink_lake: SinkLake) -> Settings:
    return sink_lake.settings.model_copy(update={"person_salt": SecretStr("the salt of a test")})


@pytest.fixture(scope="module")
def planted(sink_lake: SinkLake, settings: Settings) -> SinkLake:
    """The lake with a person's toots among others', landed and counted."""
    sink_lake.land(30, FIRST, hours=HOURS)
    land(sink_lake, own_toots(40))
    build(settings, ["plantedwordone"])
    return sink_lake


def land(lake: SinkLake, records: Sequence[TootRecord]) -> None:
    before = lake.committed_rows()
    lake.produced += produce(lake.settings, records)
    wait_until(lambda: lake.committed_rows() >= before + len(records), "the sink has committed")


def build(settings: Settings, terms: Sequence[str] = ()) -> None:
    """Build the tables, counting these words, which are then in `term_mentions`."""
    with open_lake(settings) as lake:
        build_hours(lake, *(FIRST + timedelta(hours=number) for number in range(HOURS)))
        for table in DAILY_TABLES:
            if table.name == "term_mentions" and terms:
                build_daily(lake, FIRST.date(), table, terms=list(terms))
            else:
                table.build(lake, FIRST.date())


def shown(settings: Settings, words: Sequence[str] = PLANTED) -> dict[str, list[str]]:
    """Return the planted strings that objects of the bucket show, by their names."""
    objects: dict[str, list[str]] = {}
    with closing(s3_client(settings)) as s3, open_lake(settings) as lake:
        for file in list(lake.list_files(f"{lake.layout.root}/")):
            key = lake.layout.key(file.path)
            body = s3.get_object(Bucket=settings.s3_bucket, Key=key)["Body"].read()
            for content in (body, *_decoded(lake.connection, file.path, body)):
                lowered = content.lower()
                names = [word for word in words if word.encode() in lowered]
                if names:
                    objects[key] = names
    return objects


def _decoded(connection: object, path: str, body: bytes) -> Iterator[bytes]:
    """Yield what compressed objects hold."""
    if path.endswith(".parquet"):
        rows = connection.execute(  # type: ignore[attr-defined]
            "SELECT t::VARCHAR FROM read_parquet(?, hive_partitioning := false) AS t", [path]
        ).fetchall()
        yield "\n".join(row for (row,) in rows).encode()
    if path.endswith(".avro"):
        for entry in fastavro.reader(io.BytesIO(body)):
            yield repr(entry).encode()


def test_planted_strings_are_in_the_lake_before(planted: SinkLake, settings: Settings) -> None:
    """So that the search finds what is there."""
    objects = shown(settings)
    assert {word for words in objects.values() for word in words} == {*PLANTED} - {"plantedlate"}
    for part in ("topics/", "toots/", "usage/daily_usage/", "warehouse/"):
        assert any(part in key for key in objects), part


def test_dry_run_says_what_would_be_nameless(planted: SinkLake, settings: Settings) -> None:
    before = planted.objects()
    report = forget(settings, parse_name(NAME), dry_run=True, log=str)
    assert report.toots == 40
    assert report.landed_files >= 1
    assert len(report.hours) == HOURS
    assert planted.objects() == before


def test_forgotten_person_is_in_no_object_of_the_bucket(
    planted: SinkLake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, name, addresses and hashtags are gone, and everything counts as before. Shows P7."""
    rows, toots_before = planted.iceberg_rows(), planted.distinct_toots()
    for name, value in NAMES.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("PERSON_SALT", "the salt of a test")
    result = CliRunner().invoke(forget_command, [NAME], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "40 toots" in result.stdout
    assert "until" in result.stdout
    assert shown(settings) == {}
    assert planted.iceberg_rows() == rows
    assert planted.landed_records() == planted.produced
    assert planted.distinct_toots() == toots_before
    with open_lake(settings) as lake:
        hours = [FIRST + timedelta(hours=number) for number in range(HOURS)]
        finding = hours_equal_recount(lake, hours)
        assert (finding.compared, finding.faults) == (HOURS, ())
        assert landing_completeness(settings, lake).complete


def test_forgetting_again_changes_nothing(planted: SinkLake, settings: Settings) -> None:
    """Shows G18."""
    before = planted.objects()
    report = forget(settings, parse_name(NAME), log=str)
    assert (report.toots, report.landed_files, report.left) == (0, 0, [])
    after = planted.objects()
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert not {path for path in changed if "/topics/" in path or "/toots/" in path}


def test_late_and_replayed_toots_do_not_bring_the_person_back(
    planted: SinkLake, settings: Settings
) -> None:
    """The sink goes on; tables are nameless at once, landed files after maintenance. Shows P7."""
    land(planted, [*own_toots(40)[:5], *own_toots(6, "plantedlate")])
    before = planted.distinct_toots()
    build(settings)
    assert planted.distinct_toots() == before + 6
    elsewhere = {key for key in shown(settings) if not key.startswith(("topics/", "warehouse/"))}
    assert elsewhere == set()
    rows = planted.iceberg_rows()
    planted.settings, former = settings, planted.settings
    try:
        planted.maintain()
    finally:
        planted.settings = former
    assert shown(settings) == {}
    assert planted.iceberg_rows() == rows == planted.produced
    planted.land(1, FIRST)


RETIRED = tuple(word.replace("planted", "retired") for word in PLANTED)


def retired_toots(number: int, text: str = "") -> list[TootRecord]:
    """Return toots of somebody else, who asked for nothing."""
    fields = ("uri", "url", "base_url", "server", "username", "acct", "mastodon_text")
    return [
        replace(
            record,
            **{name: getattr(record, name).replace("planted", "retired") for name in fields},
            tag_names=["cats"],
        )
        for record in own_toots(number, text.replace("retired", "planted"))
    ]


def test_old_days_lead_to_nobody_in_any_object_of_the_bucket(
    planted: SinkLake, settings: Settings
) -> None:
    """By maintenance, after PERSON_RETENTION_DAYS; nothing counts less. Shows G28 and P8."""
    land(planted, retired_toots(20))
    build(settings)
    assert {word for words in shown(settings, RETIRED).values() for word in words} > {
        "retiredname",
        "retiredpath",
        "retiredwordone",
    }
    rows, toots_before = planted.iceberg_rows(), planted.distinct_toots()
    retiring = settings.model_copy(update={"person_retention_days": 30, "raw_retention_days": 0})
    plan = maintain(retiring, ages=NO_WAIT, log=str, dry_run=True)
    assert shown(settings, RETIRED)
    report = maintain(retiring, ages=NO_WAIT, log=str)
    assert (plan.nameless_hours, plan.nameless_files) == (
        report.nameless_hours,
        report.nameless_files,
    )
    assert report.nameless_hours == HOURS
    assert report.nameless_files >= 1
    assert any("made nameless" in line for line in report.lines())
    assert shown(settings, RETIRED) == {}
    assert planted.iceberg_rows() == rows
    assert planted.landed_records() == planted.produced
    assert planted.distinct_toots() == toots_before
    land(planted, [*retired_toots(20)[:5], *retired_toots(3, "retiredlate")])
    build(settings)
    assert planted.distinct_toots() == toots_before + 3
    elsewhere = {
        key for key in shown(settings, RETIRED) if not key.startswith(("topics/", "warehouse/"))
    }
    assert elsewhere == set()
    maintain(retiring, ages=NO_WAIT, log=str)
    assert shown(settings, RETIRED) == {}
    with open_lake(settings) as lake:
        hours = [FIRST + timedelta(hours=number) for number in range(HOURS)]
        finding = hours_equal_recount(lake, hours)
        assert (finding.compared, finding.faults) == (HOURS, ())
        assert landing_completeness(settings, lake).complete
    assert planted.iceberg_rows() == planted.produced
