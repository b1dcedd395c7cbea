"""What a table's file was built from is known by its version."""

from pathlib import Path

import pytest

from mastodon_pipeline.lake import lake as lake_module
from mastodon_pipeline.lake.lake import Lake


@pytest.fixture
def path(lake: Lake) -> str:
    """Where the table's file is."""
    path = lake.layout.daily("daily_usage", lake.landed.clock().date())
    Path(path).parent.mkdir(parents=True)
    return path


def write(lake: Lake, path: str, built_from: str) -> None:
    """Write the table's file, with the fingerprint of its input."""
    lake.connection.execute(
        "COPY (SELECT 1 AS toots) TO $path (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"path": path, "built_from": built_from},
    )


def test_listed_version_is_read_once(lake: Lake, path: str) -> None:
    """What it was built from is known afterwards, even where the file itself is gone."""
    write(lake, path, "first")
    listed = lake.parquet_files(path)
    assert lake.built_from_as_listed(listed) == {path: "first"}
    Path(path).unlink()
    assert lake.built_from_as_listed(listed) == {path: "first"}


def test_other_version_is_read_again(lake: Lake, path: str) -> None:
    """And one that another process has put there, too: its etag tells."""
    for built_from in ("first", "second", "first"):
        write(lake, path, built_from)
        assert lake.built_from_as_listed(lake.parquet_files(path)) == {path: built_from}


def test_file_without_fingerprint_is_left_out(lake: Lake, path: str) -> None:
    """So it is behind whatever has landed."""
    lake.connection.execute("COPY (SELECT 1 AS toots) TO $path (FORMAT parquet)", {"path": path})
    for _ in range(2):
        assert lake.built_from_as_listed(lake.parquet_files(path)) == {}


def test_memory_of_versions_is_bounded(
    lake: Lake, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound they are read again."""
    monkeypatch.setattr(lake_module, "MOST_REMEMBERED", 1)
    other = path.replace("daily_usage", "app_usage")
    Path(other).parent.mkdir(parents=True)
    for _ in range(2):
        for file in (path, other):
            write(lake, file, "input")
            assert lake.built_from_as_listed(lake.parquet_files(file)) == {file: "input"}
    assert len(lake_module._BUILT_FROM) <= 1
