"""The lake's paths."""

from datetime import UTC, datetime, timedelta

import pytest

from mastodon_pipeline.lake.layout import Layout

LAYOUT = Layout("s3://mastodon", "mastodon-topic")
HOUR = datetime(2026, 11, 24, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("folder", "end"),
    [
        ("kafka_timestamp_day=2026-11-24", HOUR.replace(hour=0) + timedelta(days=1)),
        ("created_at_hour=2026-11-24-15", HOUR + timedelta(hours=1)),
        ("created_at_hour=null", None),
        ("created_at_hour=2026-02-30-25", None),
        ("kafka_timestamp_day=2026-11-31", None),
        ("not_counted", None),
    ],
)
def test_folder_of_landed_files_ends_with_its_day_or_hour(
    folder: str, end: datetime | None
) -> None:
    assert LAYOUT.end_of_folder(f"{LAYOUT.landed()}{folder}") == end


@pytest.mark.parametrize(
    ("path", "group"),
    [
        (f"{LAYOUT.landed_day(HOUR.date())}a.parquet", "kafka_timestamp_day=2026-11-24"),
        (f"{LAYOUT.landed_hour(HOUR)}a.parquet", "created_at_hour=2026-11-24"),
        (f"{LAYOUT.removed_hour(HOUR)}a.parquet", "removed=2026-11-24"),
        (f"{LAYOUT.landed()}a.parquet", "_"),
        (f"{LAYOUT.landed()}x/y/a.parquet", "x"),
    ],
)
def test_landed_file_is_indexed_with_its_day(path: str, group: str) -> None:
    assert LAYOUT.index_group(path) == group


def test_key_is_the_path_below_the_bucket() -> None:
    assert LAYOUT.key(LAYOUT.maintenance_lock()) == "removed/maintenance.lock"
