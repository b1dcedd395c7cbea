"""What a maintenance did, or would do: counts and bytes, for people and for Dagster."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

SHOWN = 5


@dataclass(slots=True)
class Amount:
    """Some files."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """One file more, of so many bytes."""
        self.files += 1
        self.bytes += size

    def __str__(self) -> str:
        return f"{self.files:,} files, {told_bytes(self.bytes)}"


@dataclass(slots=True)
class Report:
    """One maintenance. In a dry run everything is what would be done."""

    dry_run: bool
    snapshots_expired: int = 0
    snapshots_left: int = 0
    hours_verified: int = 0
    """Hours past their retention whose tables stand for their landed files."""
    hours_removed: int = 0
    """Those of them whose landed files are gone with this run."""
    hours_waiting: int = 0
    """Verified ones whose landed files a snapshot still names: they go with a later run."""
    hours_kept: dict[datetime, str] = field(default_factory=dict)
    """Hours past their retention whose landed files stay, and why."""
    dropped: Amount = field(default_factory=Amount)
    """Landed files that the Iceberg table names no more, from the next snapshot on."""
    removed: Amount = field(default_factory=Amount)
    """Landed files removed from the bucket, verified hours' all."""
    metadata_orphans: Amount = field(default_factory=Amount)
    """Manifests, manifest lists and metadata files that nothing names any more."""
    data_orphans: Amount = field(default_factory=Amount)
    """Landed files of younger hours that no snapshot names, and whose records others have."""
    faults: list[str] = field(default_factory=list)
    """What a person should look at, a line each. None of it was touched."""

    def lines(self) -> list[str]:
        """The report for a person."""
        would = "would be " if self.dry_run else ""
        told = [
            f"snapshots: {self.snapshots_expired:,} {would}expired, {self.snapshots_left:,} left",
            f"hours past retention: {self.hours_verified + len(self.hours_kept):,};"
            f" {self.hours_verified:,} verified, of which {self.hours_removed:,} {would}removed,"
            f" {self.hours_waiting:,} wait for their snapshots to expire",
            f"landed files {would}dropped from the Iceberg table: {self.dropped}",
            f"landed files {would}removed from the bucket: {self.removed}",
            f"orphans {would}removed: metadata {self.metadata_orphans}; data {self.data_orphans}",
        ]
        for why, count in Counter(self.hours_kept.values()).most_common():
            first = min(hour for hour, reason in self.hours_kept.items() if reason == why)
            told.append(f"{count:,} hours kept: {why} (first: {first:%Y-%m-%d %H:%M} UTC)")
        return [*told, *self.faults[:SHOWN]]


def told_bytes(count: int) -> str:
    """Bytes as a person reads them: `12.3 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
