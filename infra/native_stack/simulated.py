"""Whether a data directory holds a demo's simulated toots, which never stand beside real ones."""

from pathlib import Path

SIMULATED_MARK = "simulated-toots"
"""A file of this name in the data directory says so."""


def is_simulated(data: Path) -> bool:
    """Whether the toots in this data directory were made up by a demo."""
    return (data / SIMULATED_MARK).exists()
