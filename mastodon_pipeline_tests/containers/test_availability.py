"""A machine on which containers cannot be built or run is one where their tests are skipped."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mastodon_pipeline_tests.containers import availability
from mastodon_pipeline_tests.containers.availability import (
    NoEngine,
    find_engine,
    require_containers,
    require_space,
)
from mastodon_pipeline_tests.containers.engine import Engine

WORKS = 'case "$*" in *GraphRoot*) echo /;; info*) echo netavark overlay;; *) echo 1234;; esac'
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put scripts with these names and bodies before all other programs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(availability, "DISK_BYTES", 0)
    monkeypatch.setattr(availability, "MEMORY_BYTES", 0)

    def write(**scripts: str) -> None:
        for name, body in {"docker": "exit 1", "podman-compose": "", **scripts}.items():
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\n{body}\n")
            path.chmod(0o755)

    return write


def refusal(of: Callable[[], object]) -> str:
    with pytest.raises(NoEngine) as raised:
        of()
    return str(raised.value)


def test_podman_that_works_is_taken_where_docker_does_not(install: Install) -> None:
    install(podman=WORKS)
    engine = find_engine()

    assert engine.is_podman
    require_containers(engine)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo cannot set up namespace; exit 125", "podman does not work: cannot set up namespace"),
        ("echo netavark vfs", "no overlayfs"),
    ],
)
def test_podman_that_does_not_work_here_is_named(install: Install, body: str, reason: str) -> None:
    install(podman=body)

    assert reason in refusal(find_engine)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("run", "podman is here, but no container runs: denied"),
        ("build", "podman is here, but what is built does not reach Debian's archive: denied"),
    ],
)
def test_container_that_cannot_run_or_be_built_is_named(
    install: Install, command: str, reason: str
) -> None:
    install(podman=f'case "$*" in {command}*) echo denied; exit 1;; esac\n{WORKS}')

    assert refusal(lambda: require_containers(find_engine())) == reason


@pytest.mark.parametrize("debootstrap", ["exit 1", "mkdir -p $3"])
def test_base_image_that_is_neither_pulled_nor_made_is_named(
    install: Install, debootstrap: str
) -> None:
    """Debootstrap fails, or leaves out what a base has."""
    install(podman=f'case "$*" in image*|pull*) exit 1;; esac\n{WORKS}', debootstrap=debootstrap)

    assert "cannot be pulled, nor made" in refusal(lambda: require_containers(find_engine()))


def test_base_image_that_is_not_imported_is_named(install: Install) -> None:
    directories = " ".join(f"$3/{name}" for name in availability._NOT_IN_SLIM)
    install(
        podman=f'case "$*" in image*|pull*|import*) echo no; exit 1;; esac\n{WORKS}',
        debootstrap=f"mkdir -p {directories}",
    )

    assert "no image can be imported: no" in refusal(lambda: require_containers(find_engine()))


@pytest.mark.parametrize("what", ["DISK_BYTES", "MEMORY_BYTES"])
def test_machine_that_is_too_small_is_named(
    install: Install, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    install(podman=WORKS)
    monkeypatch.setattr(availability, what, 1e18)

    assert "1000000000 GB" in refusal(lambda: require_space(find_engine()))


def test_command_that_takes_too_long_is_killed_with_what_it_started(install: Install) -> None:
    """The descendant keeps the output open: who waits for its end would wait for a minute."""
    install(podman="sleep 60 & sleep 60")
    done = Engine("podman", ()).run("info", check=False, timeout_seconds=0.2)

    assert done.returncode == 124
    assert "not within 0.2 s" in done.stdout
