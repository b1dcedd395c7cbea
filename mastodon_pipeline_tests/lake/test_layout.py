"""The lake's paths."""

from datetime import UTC, datetime

import pytest

from mastodon_pipeline.lake.layout import Layout

LAYOUT = Layout("s3://mastodon", "mastodon-topic")
HOUR = datetime(2026, 11, 24, 15, tzinfo=UTC)


@pytest.mark.parametrize("folder", [LAYOUT.landed_hour(HOUR), LAYOUT.removed_hour(HOUR)])
def test_hour_of_a_landed_file_or_receipt_is_its_folders(folder: str) -> None:
    assert LAYOUT.hour_of(f"{folder}a.parquet") == HOUR


@pytest.mark.parametrize(
    "path",
    [
        f"{LAYOUT.landed()}a.parquet",
        f"{LAYOUT.landed()}created_at_hour=null/a.parquet",
        f"{LAYOUT.landed()}created_at_hour=2026-02-30-25/a.parquet",
        LAYOUT.removal_marker(),
        LAYOUT.toots(HOUR),
    ],
)
def test_files_in_no_hours_folder_have_no_hour(path: str) -> None:
    assert LAYOUT.hour_of(path) is None


def test_key_is_the_path_below_the_bucket() -> None:
    assert LAYOUT.key(LAYOUT.maintenance_lock()) == "removed/maintenance.lock"
