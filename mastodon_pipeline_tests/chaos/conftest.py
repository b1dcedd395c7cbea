"""The chaos tests' pipeline, and the table of their measurements."""

from collections.abc import Iterator

import pytest

from mastodon_pipeline_tests.chaos.scene import Measurement, Scene, running_scene

_measurements: list[Measurement] = []


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """One pipeline for all tests: what is killed has to recover for the next one."""
    with running_scene(_measurements) as scene:
        yield scene


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seconds after every kill."""
    if not _measurements:
        return
    terminalreporter.section("seconds after each kill")
    width = max(len(measurement.name) for measurement in _measurements)
    for measurement in _measurements:
        line = f"{measurement.name:<{width}} {measurement.seconds:>7.1f}  {measurement.remark}"
        terminalreporter.write_line(line)
