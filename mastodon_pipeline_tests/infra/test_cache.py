"""The cache of downloads: what is in it is whole, whatever interrupted the way there."""

from pathlib import Path

import pytest

from infra.native_stack import StackError
from infra.native_stack.cache import (
    cache_directory,
    complete,
    keyed,
    locked,
    require_space,
    store,
)


def fill(directory: Path) -> None:
    (directory / "jars").mkdir()
    (directory / "jars" / "kafka.jar").write_bytes(b"broker")


def test_what_was_stored_is_complete(tmp_path: Path) -> None:
    """The directory appears under its name once it is whole."""
    store(tmp_path / "kafka-1", fill)

    assert complete(tmp_path / "kafka-1")
    assert [path.name for path in tmp_path.iterdir()] == ["kafka-1"]


def test_an_interrupted_download_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the next call begins anew and succeeds."""

    def interrupted(directory: Path) -> None:
        fill(directory)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "kafka-1", interrupted)
    assert not complete(tmp_path / "kafka-1")

    store(tmp_path / "kafka-1", fill)
    assert complete(tmp_path / "kafka-1")


@pytest.mark.parametrize("damage", ["removed", "cut short"])
def test_damage_is_noticed_and_mended(tmp_path: Path, damage: str) -> None:
    """A file that was removed or truncated since makes the whole directory incomplete."""
    directory = tmp_path / "kafka-1"
    store(directory, fill)
    jar = directory / "jars" / "kafka.jar"
    jar.unlink() if damage == "removed" else jar.write_bytes(b"bro")
    assert not complete(directory)

    store(directory, fill)
    assert complete(directory)


def test_nothing_downloaded_is_an_error(tmp_path: Path) -> None:
    """A tool that succeeds and brings nothing has not succeeded."""
    with pytest.raises(StackError, match="nothing arrived"):
        store(tmp_path / "kafka-1", lambda directory: None)


def test_another_pin_is_another_directory() -> None:
    """A changed pom never meets the jars of the former one."""
    assert keyed("kafka", b"4.3.1") != keyed("kafka", b"4.4.0")
    assert keyed("kafka", b"4.3.1") == keyed("kafka", b"4.3.1")


def test_a_full_disk_is_told_before_it_is_full(tmp_path: Path) -> None:
    """The line says where, how much, and two ways out."""
    with pytest.raises(StackError) as raised:
        require_space(tmp_path / "not" / "yet", 10**18)

    assert str(tmp_path) in str(raised.value)
    assert "make room, or set MASTODON_PIPELINE_CACHE" in str(raised.value)


def test_the_lock_is_free_again_afterwards(tmp_path: Path) -> None:
    """Two checkouts may fetch one after the other, and neither waits when it need not."""
    waits: list[str] = []
    for _ in range(2):
        with locked(tmp_path / "lock", lambda: waits.append("waited"), lambda: None):
            pass

    assert waits == []


def test_waiting_for_the_lock_can_be_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while another checkout downloads."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    with (
        locked(tmp_path / "lock", lambda: None, lambda: None),
        pytest.raises(KeyboardInterrupt),
        locked(tmp_path / "lock", lambda: None, interrupted),
    ):
        pass


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`MASTODON_PIPELINE_CACHE`, then `XDG_CACHE_HOME`, then `~/.cache`."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("MASTODON_PIPELINE_CACHE", raising=False)
    assert cache_directory() == Path("/somewhere/mastodon-pipeline")

    monkeypatch.setenv("MASTODON_PIPELINE_CACHE", "/elsewhere")
    assert cache_directory() == Path("/elsewhere")
