"""What a maintenance did, or would do, in counts and bytes."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

FAULTS_SHOWN = 5


@dataclass(slots=True)
class Amount:
    """A number of files, and their size."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more file of `size` bytes."""
        self.files += 1
        self.bytes += size

    def __str__(self) -> str:
        return f"{self.files:,} files, {readable_bytes(self.bytes)}"


@dataclass(slots=True)
class Report:
    """The result of one maintenance; in a dry run, what it would do."""

    dry_run: bool
    snapshots_expired: int = 0
    snapshots_left: int = 0
    folders_verified: int = 0
    """Folders past their retention whose records' hours have tables that hold all of them."""
    folders_removed: int = 0
    """Verified folders whose landed files this run removed."""
    folders_waiting: int = 0
    """Verified folders whose landed files a snapshot still names: a later run removes them."""
    folders_left: dict[str, str] = field(default_factory=dict)
    """Folders past their retention whose landed files stay, and why."""
    dropped: Amount = field(default_factory=Amount)
    """Landed files that the Iceberg table's next snapshot no longer names."""
    removed: Amount = field(default_factory=Amount)
    """Landed files of verified folders, removed from the bucket."""
    metadata_orphans: Amount = field(default_factory=Amount)
    """Manifests, manifest lists and metadata files that nothing names any more."""
    data_orphans: Amount = field(default_factory=Amount)
    """Of younger folders, files that no snapshot names, and whose records other files have."""
    nameless_before: datetime | None = None
    """What was posted before this names nobody any more (PERSON_RETENTION_DAYS), UTC."""
    nameless_hours: int = 0
    """Hours of `toots` that were built without names."""
    nameless_files: int = 0
    """Landed files that were written again without names."""
    faults: list[str] = field(default_factory=list)
    """What a person should look at, one line each; nothing of it was touched."""

    def lines(self) -> list[str]:
        """Return the report as lines to read."""
        would = "would be " if self.dry_run else ""
        lines = [
            f"snapshots: {self.snapshots_expired:,} {would}expired, {self.snapshots_left:,} left",
            f"folders past retention: {self.folders_verified + len(self.folders_left):,};"
            f" {self.folders_verified:,} verified, of which {self.folders_removed:,}"
            f" {would}removed, {self.folders_waiting:,} wait for their snapshots to expire",
            f"landed files {would}dropped from the Iceberg table: {self.dropped}",
            f"landed files {would}removed from the bucket: {self.removed}",
            f"orphans {would}removed: metadata {self.metadata_orphans}; data {self.data_orphans}",
        ]
        if self.nameless_before is not None:
            lines.append(
                f"posted before {self.nameless_before:%Y-%m-%d}: {self.nameless_hours:,} hours and"
                f" {self.nameless_files:,} landed files {would}made nameless"
            )
        for reason, count in Counter(self.folders_left.values()).most_common():
            first = min(folder for folder, why in self.folders_left.items() if why == reason)
            lines.append(f"{count:,} folders left in place: {reason} (first: {first})")
        return [*lines, *self.faults[:FAULTS_SHOWN]]


def readable_bytes(count: int) -> str:
    """Return a number of bytes as `12.3 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
