"""The chaos tests' scene, and their table."""

from collections.abc import Iterator

import pytest

from mastodon_pipeline_tests.chaos.scene import Measured, Scene, running_scene

_measured: list[Measured] = []


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """One pipeline for all of them: what is killed has to come back for the next."""
    with running_scene(_measured) as scene:
        yield scene


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The seconds of every kill."""
    if not _measured:
        return
    terminalreporter.section("seconds after each kill")
    width = max(len(one.what) for one in _measured)
    for one in _measured:
        terminalreporter.write_line(f"{one.what:<{width}} {one.seconds:>7.1f}  {one.remark}")
