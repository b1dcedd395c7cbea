"""Copies of written files: of one version each, for one run, and not of everything."""

from pathlib import Path

import pytest

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.written import WrittenFiles
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record, rows

PATH = "s3://bucket/toots/day=2026-11-24/hour=15/toots.parquet"


@pytest.fixture
def written() -> WrittenFiles:
    return WrittenFiles(most_bytes=10)


def version(etag: str, path: str = PATH) -> StoredFile:
    return StoredFile(path, etag, HOUR, 5)


def local(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "made.parquet"
    file.write_text(content)
    return file


def test_version_that_was_put_is_read_from_its_copy(written: WrittenFiles, tmp_path: Path) -> None:
    with written.in_use("run"):
        written.keep(PATH, "1", local(tmp_path, "one"))
        assert Path(written.read(version("1"))).read_text() == "one"
        assert Path(written.last(PATH)).read_text() == "one"


def test_version_of_another_process_is_read_from_the_lake(
    written: WrittenFiles, tmp_path: Path
) -> None:
    with written.in_use("run"):
        written.keep(PATH, "1", local(tmp_path, "one"))
        assert written.read(version("2")) == PATH


def test_newer_version_takes_the_place_of_the_older(written: WrittenFiles, tmp_path: Path) -> None:
    with written.in_use("run"):
        written.keep(PATH, "1", local(tmp_path, "one"))
        first = Path(written.last(PATH))
        written.keep(PATH, "2", local(tmp_path, "two"))
        assert Path(written.read(version("2"))).read_text() == "two"
        assert written.read(version("1")) == PATH
        assert not first.exists()


def test_next_step_of_a_run_reads_the_copies_and_another_run_does_not(
    written: WrittenFiles, tmp_path: Path
) -> None:
    with written.in_use("run"):
        written.keep(PATH, "1", local(tmp_path, "one"))
        copy = Path(written.last(PATH))
    with written.in_use("run"):
        assert written.read(version("1")) == str(copy)
    with written.in_use("another"):
        assert written.read(version("1")) == PATH
    assert not copy.exists()


def test_tick_leaves_no_copy(written: WrittenFiles, tmp_path: Path) -> None:
    """A code server lives for months, and somebody may be forgotten meanwhile."""
    with written.in_use():
        written.keep(PATH, "1", local(tmp_path, "one"))
        copy = Path(written.last(PATH))
        assert copy.exists()
    assert not copy.exists()


def test_nothing_is_copied_out_of_use(written: WrittenFiles, tmp_path: Path) -> None:
    made = local(tmp_path, "one")
    written.keep(PATH, "1", made)
    assert made.exists()
    with written.in_use("run"):
        assert (written.read(version("1")), written.last(PATH)) == (PATH, PATH)


def test_what_is_too_much_is_read_from_the_lake(written: WrittenFiles, tmp_path: Path) -> None:
    other = PATH.replace("15", "16")
    with written.in_use("run"):
        written.keep(PATH, "1", local(tmp_path, "123456"))
        written.keep(other, "1", local(tmp_path, "123456"))
        assert written.read(version("1")) != PATH
        assert written.read(version("1", other)) == other
        written.keep(PATH, "2", local(tmp_path, "123456"))
        assert written.read(version("2")) != PATH, "in the place of the first"


def test_toots_are_counted_from_their_copy(lake: Lake) -> None:
    """Shown by a copy that holds something else than the lake's file."""
    land(lake, record(uri="a"), record(uri="b"))
    with lake.written.in_use():
        path = build_toots(lake, HOUR).path
        copy = lake.written.last(path)
        assert copy != path
        assert rows(lake, copy) == rows(lake, path)
        lake.connection.execute(f"COPY (FROM '{path}' LIMIT 1) TO '{copy}'")
        assert build_toots_per_server(lake, HOUR).rows == 1
        (counted,) = rows(lake, lake.layout.toots_per_server(HOUR))
        assert counted["toots"] == 1
