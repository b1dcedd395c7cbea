"""A lake of three days, two of them old, and what of it names people."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.listening.records.people import pseudonym
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.maintenance.person_retention import PersonRetention, retire_persons
from mastodon_pipeline.maintenance.verification import why_not_verified
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.checks.active_users import active_users_equal_recount
from mastodon_pipeline.usage.checks.days import (
    day_equals_its_hours,
    mentions_are_possible,
    toots_sum_to_the_day,
)
from mastodon_pipeline.usage.checks.hashtags import hashtags_equal_recount
from mastodon_pipeline.usage.checks.hours import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES, TERM_MENTIONS, build_daily
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_bucket import LocalBucket
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    in_order,
    land,
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
    """Build the tables of these hours and their days, counting the word `often`."""
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
    root = lake.layout.root.lower()  # files name others; the path is the tester's
    objects: dict[str, set[str]] = {}
    for path in Path(lake.layout.root).rglob("*"):
        if not path.is_file() or (days and not any(str(day) in str(path) for day in days)):
            continue
        contents = [path.read_bytes().decode("latin-1")]
        if path.suffix == ".parquet":
            contents += map(repr, rows(lake, str(path)))
        texts = [content.lower().replace(root, "") for content in contents]
        words = {word for word in PLANTED for text in texts if word in text}
        if words:
            objects[str(path)] = words
    return objects


def assert_checks_are_green(lake: Lake, *hours: datetime) -> None:
    """Fail unless each check of the tables has compared something, and found nothing."""
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
