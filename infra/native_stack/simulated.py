"""Tell a demo's data directory from one with real toots: the two must never be mixed."""

from pathlib import Path

SIMULATED_MARK = "simulated-toots"
"""The name of the file that marks a demo's data directory."""


def is_simulated(data: Path) -> bool:
    """Return whether this data directory holds a demo's simulated toots."""
    return (data / SIMULATED_MARK).exists()
