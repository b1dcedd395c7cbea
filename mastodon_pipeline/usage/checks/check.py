"""What a check is, and what it finds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, TypeVar

from mastodon_pipeline.lake.lake import Lake

T = TypeVar("T")
Partition = TypeVar("Partition", datetime, date)
LISTED_FAULTS = 5
"""Faults that a summary lists one by one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check: `faults` is empty if all is well."""

    compared: int
    """Partitions that were compared."""
    faults: tuple[str, ...]
    skipped: int = 0
    """Partitions left out, by default because newer input arrived; they will be built again."""
    skip_reason: str = "newer files arrived"
    unit: str = "partitions"
    """What `compared` and `skipped` count."""

    @property
    def passed(self) -> bool:
        """True if there is no fault."""
        return not self.faults

    @property
    def summary(self) -> str:
        """One line, and the first of the faults."""
        skipped = f", {self.skipped} skipped ({self.skip_reason})" if self.skipped else ""
        lines = [f"{len(self.faults)} faults in {self.compared} {self.unit}{skipped}"]
        return "\n".join([*lines, *self.faults[:LISTED_FAULTS]])


def compare_each(
    partitions: Iterable[T], find_faults: Callable[[T], Sequence[str] | None]
) -> Finding:
    """Compare partitions one by one; `find_faults` returns None for one that is to be skipped."""
    results = [find_faults(partition) for partition in partitions]
    compared = [faults for faults in results if faults is not None]
    faults = tuple(fault for faults in compared for fault in faults)
    return Finding(len(compared), faults, skipped=len(results) - len(compared))


@dataclass(frozen=True, slots=True)
class Check(Generic[Partition]):
    """A check of a table, to be run whenever partitions of it were built."""

    name: str
    description: str
    find_faults: Callable[[Lake, str, Sequence[Partition]], Finding]
    """Compares these partitions of the table of this name."""
    warn_only: bool = False
    """A fault is a warning, not an error."""
