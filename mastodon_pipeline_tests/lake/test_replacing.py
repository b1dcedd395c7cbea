"""A file is made from one version of its input, and never replaces what is newer (G14)."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.replacing import MAX_ATTEMPTS, replace_file


@pytest.fixture
def path(lake: Lake) -> str:
    """Where the file is put."""
    return f"{lake.layout.root}/made.txt"


@pytest.fixture
def source(lake: Lake) -> Path:
    """What the file is made from."""
    source = Path(lake.layout.root, "source.txt")
    source.write_text("old")
    return source


def inputs(lake: Lake, source: Path) -> Sequence[StoredFile]:
    """List the input."""
    return list(lake.list_files(str(source)))


def test_input_replaced_while_it_is_read_is_read_again(lake: Lake, path: str, source: Path) -> None:
    """Half of one version and half of the next is never put there."""

    def make(_: Sequence[StoredFile], local: str) -> int:
        first = source.read_text()
        attempts.append(first)
        if len(attempts) == 1:
            source.write_text("new")
        Path(local).write_text(first + source.read_text())
        return len(attempts)

    attempts: list[str] = []
    assert replace_file(lake, path, make, lambda: inputs(lake, source)) == 2
    assert Path(path).read_text() == "newnew"


def test_failing_to_read_replaced_input_is_tried_again(lake: Lake, path: str, source: Path) -> None:
    """DuckDB refuses a file that changes while it is open; without a change, it is an error."""

    def make(_: Sequence[StoredFile], local: str) -> str:
        if source.read_text() == "old":
            source.write_text("new")
            raise duckdb.HTTPException("ETag on reading file was initially ...")
        Path(local).write_text(source.read_text())
        return "made"

    def fail(_: Sequence[StoredFile], local: str) -> None:
        raise duckdb.IOException("unreadable")

    assert replace_file(lake, path, make, lambda: inputs(lake, source)) == "made"
    with pytest.raises(duckdb.IOException, match="unreadable"):
        replace_file(lake, path, fail, lambda: inputs(lake, source))
    assert Path(path).read_text() == "new"


@pytest.mark.parametrize("was_there", [True, False])
def test_file_that_another_build_put_there_is_replaced_only_by_a_newer_one(
    lake: Lake, path: str, was_there: bool
) -> None:
    """The attempt that was overtaken is thrown away."""
    if was_there:
        Path(path).write_text("oldest")
    attempts: list[str] = []

    def make(_: Sequence[StoredFile], local: str) -> None:
        attempts.append("attempt")
        if len(attempts) == 1:
            Path(path).write_text("of another build")
            Path(local).write_text("older")
        else:
            Path(local).write_text(f"newer than {Path(path).read_text()}")

    replace_file(lake, path, make)
    assert Path(path).read_text() == "newer than of another build"


def test_file_that_is_never_left_alone_ends_in_one_line(lake: Lake, path: str) -> None:
    """The run fails, and the next one builds the file."""
    attempts: list[str] = []

    def make(_: Sequence[StoredFile], local: str) -> None:
        attempts.append(local)
        Path(path).write_text(f"of another build: {len(attempts)}")
        Path(local).write_text("older")

    with pytest.raises(TableError, match="build it again"):
        replace_file(lake, path, make)
    assert len(attempts) == MAX_ATTEMPTS
    assert Path(path).read_text() == f"of another build: {MAX_ATTEMPTS}"
    assert not any(Path(local).exists() for local in attempts)


def test_nothing_made_leaves_what_is_there(lake: Lake, path: str) -> None:
    """Such as an hour whose landed files are gone."""
    Path(path).write_text("kept")
    assert replace_file(lake, path, lambda _files, _local: "unchanged") == "unchanged"
    assert Path(path).read_text() == "kept"
