"""The cache of downloads: a directory in it is complete, even after interrupted downloads."""

from pathlib import Path

import pytest

from infra.native_stack import StackError
from infra.native_stack.cache import (
    cache_directory,
    is_complete,
    locked,
    require_space,
    store,
    versioned_name,
)


def fill(directory: Path) -> None:
    (directory / "jars").mkdir()
    (directory / "jars" / "kafka.jar").write_bytes(b"broker")


def test_stored_directory_is_complete_and_leaves_no_partial_one(tmp_path: Path) -> None:
    store(tmp_path / "kafka-1", fill)

    assert is_complete(tmp_path / "kafka-1")
    assert [path.name for path in tmp_path.iterdir()] == ["kafka-1"]


def test_interrupted_download_is_incomplete_and_can_be_repeated(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a download; the next call starts again and succeeds."""

    def interrupted(directory: Path) -> None:
        fill(directory)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "kafka-1", interrupted)
    assert not is_complete(tmp_path / "kafka-1")

    store(tmp_path / "kafka-1", fill)
    assert is_complete(tmp_path / "kafka-1")


@pytest.mark.parametrize("damage", ["removed", "truncated"])
def test_damaged_file_makes_the_directory_incomplete(tmp_path: Path, damage: str) -> None:
    """A file that was removed or truncated later is fetched again."""
    directory = tmp_path / "kafka-1"
    store(directory, fill)
    jar = directory / "jars" / "kafka.jar"
    jar.unlink() if damage == "removed" else jar.write_bytes(b"bro")
    assert not is_complete(directory)

    store(directory, fill)
    assert is_complete(directory)


def test_download_of_nothing_is_an_error(tmp_path: Path) -> None:
    """A tool that exits with 0 but writes no file has failed."""
    with pytest.raises(StackError, match="nothing arrived"):
        store(tmp_path / "kafka-1", lambda directory: None)


def test_changed_pins_get_another_directory() -> None:
    """The jars of a changed pom never mix with those of the previous one."""
    assert versioned_name("kafka", b"4.3.1") != versioned_name("kafka", b"4.4.0")
    assert versioned_name("kafka", b"4.3.1") == versioned_name("kafka", b"4.3.1")


def test_too_small_disk_is_reported_before_downloading(tmp_path: Path) -> None:
    """The error names the path and two fixes."""
    with pytest.raises(StackError) as raised:
        require_space(tmp_path / "not" / "yet", 10**18)

    assert str(tmp_path) in str(raised.value)
    assert "free some space, or set MASTODON_PIPELINE_CACHE" in str(raised.value)


def test_cache_lock_is_released_after_use(tmp_path: Path) -> None:
    """Two checkouts that fetch one after the other do not wait."""
    waits: list[str] = []
    for _ in range(2):
        with locked(tmp_path / "lock", lambda: waits.append("waited"), lambda: None):
            pass

    assert waits == []


def test_waiting_for_the_cache_lock_can_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while another checkout downloads."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    with (
        locked(tmp_path / "lock", lambda: None, lambda: None),
        pytest.raises(KeyboardInterrupt),
        locked(tmp_path / "lock", lambda: None, interrupted),
    ):
        pass


def test_cache_directory_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`MASTODON_PIPELINE_CACHE` first, then `XDG_CACHE_HOME`, then `~/.cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("MASTODON_PIPELINE_CACHE", raising=False)
    assert cache_directory() == Path("/somewhere/mastodon-pipeline")

    monkeypatch.setenv("MASTODON_PIPELINE_CACHE", "/elsewhere")
    assert cache_directory() == Path("/elsewhere")
