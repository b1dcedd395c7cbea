"""What has landed, by source and hour of receiving, each record once.

Files are counted in groups, by the hour in which they were written, and remembered: only a group
whose files have changed is counted again, which is the running hour's. Groups that reach over the
same offsets and times, since the sink wrote some records again, are counted together.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, takewhile

import duckdb

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.ledger.state import Cell, FileGroup, State
from mastodon_pipeline.listening.following.tally import HOUR_MS

Counts = list[tuple[str, int, int, int]]
DAY = timedelta(days=1)


@dataclass(slots=True)
class Landed:
    """What the landed files hold, and what has become of files that were counted before."""

    records: defaultdict[Cell, int] = field(default_factory=lambda: defaultdict(int))
    replayed: defaultdict[Cell, int] = field(default_factory=lambda: defaultdict(int))
    """Records that were sent again by `mastodon-pipeline replay`."""
    suspects: dict[Cell, str] = field(default_factory=dict)
    """Where files are gone, changed or unreadable that held records: which, and what they are."""


def count_landed(lake: Lake, state: State, since: datetime) -> Landed:
    """Count what landed in files written since then (UTC), and remember it in `state`.

    Raises ObjectStoreUnavailable, and duckdb.Error if the object store fails.
    """
    by_hour: defaultdict[int, list[StoredFile]] = defaultdict(list)
    with suppress(BucketMissing):
        for file in _files_since(lake, since, whole=not state.checked_at):
            written = int(file.modified.timestamp() * 1000)
            by_hour[written - written % HOUR_MS].append(file)
    landed = Landed()
    first = int(since.timestamp() * 1000)
    before, state.groups = state.groups, {}
    for hour in sorted(by_hour.keys() | {hour for hour in before if hour >= first}):
        known = before.get(hour)
        versions = {file.path: file.etag for file in by_hour[hour]}
        if known is None or known.files != versions or known.unreadable:
            group = _count_group(lake, by_hour[hour])
        else:
            group = known
        state.groups[hour] = group
        _note_suspects(landed, known, group)
    _add_up(lake, state, by_hour, landed)
    return landed


def count_only_replayed(lake: Lake, cells: Iterable[Cell], since: datetime) -> dict[Cell, int]:
    """Count by cell the events that landed as sent again, and not as received.

    Whoever replays an hour sends again what had landed, too: that stands for nothing.
    """
    counts = dict.fromkeys(cells, 0)
    files = [file.path for file in _files_since(lake, since)]
    values = {
        "files": [lake.empty_record, *files],
        "first": min(hour for _, hour in counts),
        "end": max(hour for _, hour in counts) + HOUR_MS,
    }
    rows = lake.connection.execute(query("ledger/only_replayed"), values).fetchall()
    return counts | {
        (source, hour): records for source, hour, records in rows if (source, hour) in counts
    }


def _files_since(lake: Lake, since: datetime, *, whole: bool = False) -> Iterator[StoredFile]:
    """List the landed files that were written since then (UTC).

    Unless `whole`, without the folders of the days of arrival before: those of years are thousands
    of requests. What is written into them late was received then, and is not compared any more.
    """
    landed, days = lake.layout.landed(), lake.layout.landed_days()
    files: Iterable[StoredFile] = lake.list_files(landed)
    if not whole:
        others = takewhile(lambda file: file.path < days, files)
        # A day more than that, as Kafka's clock may be behind.
        files = chain(others, lake.list_files(landed, lake.layout.landed_day(since - DAY)))
    return (file for file in files if file.path.endswith(".parquet") and file.modified >= since)


def _count_group(lake: Lake, files: Sequence[StoredFile]) -> FileGroup:
    versions = {file.path: file.etag for file in files}
    paths = [file.path for file in files]
    unreadable: dict[str, str] = {}
    if not files:
        return FileGroup(versions, unreadable, [], [])
    try:
        counts, spans = _count(lake, paths), _spans(lake, paths)
    except duckdb.Error:
        for path in paths:
            try:
                _count(lake, [path])
            except duckdb.Error as error:
                if not any(file.path == path for file in lake.list_files(path)):
                    continue  # removed meanwhile: the next check sees it
                unreadable[path] = str(error).splitlines()[0][:200]
        readable = [path for path in paths if path not in unreadable]
        if len(readable) == len(paths):
            raise
        counts, spans = _count(lake, readable), _spans(lake, readable)
    return FileGroup(versions, unreadable, counts, spans)


def _count(lake: Lake, paths: Sequence[str]) -> Counts:
    rows = lake.connection.execute(
        query("ledger/landed_counts"), {"files": [lake.empty_record, *paths]}
    ).fetchall()
    return [(source, hour, records, replayed) for source, hour, records, replayed in rows]


def _spans(lake: Lake, paths: Sequence[str]) -> list[tuple[int, int, int, int, int]]:
    return lake.connection.execute(
        query("ledger/landed_spans"), {"files": [lake.empty_record, *paths]}
    ).fetchall()


def _note_suspects(landed: Landed, known: FileGroup | None, group: FileGroup) -> None:
    """Note what may explain that a group holds less than it did."""
    lost = [f"{path} cannot be read ({reason})" for path, reason in group.unreadable.items()]
    if known is not None:
        lost += [f"{path} is gone" for path in known.files.keys() - group.files.keys()]
        lost += [
            f"{path} was replaced"
            for path, etag in known.files.items()
            if group.files.get(path, etag) != etag and path not in group.unreadable
        ]
    if not lost:
        return
    more = f", and {len(lost) - 1} more files" if len(lost) > 1 else ""
    what = f"landed file {min(lost)}{more}"
    for source, hour, *_ in [*(known.counts if known else []), *group.counts]:
        landed.suspects[source, hour] = what
    if group.unreadable:
        landed.suspects["", 0] = what  # of sources and hours that nobody can tell


def _add_up(
    lake: Lake,
    state: State,
    by_hour: Mapping[int, Sequence[StoredFile]],
    landed: Landed,
) -> None:
    joint, state.joint = state.joint, {}
    for hours in _clusters(state.groups):
        if len(hours) == 1:
            counts = state.groups[hours[0]].counts
        else:
            files = [
                file
                for hour in hours
                for file in by_hour[hour]
                if file.path not in state.groups[hour].unreadable
            ]
            version = fingerprint(files)
            known = joint.get(version)
            counts = _count(lake, [file.path for file in files]) if known is None else known
            state.joint[version] = counts
        for source, hour, records, replayed in counts:
            landed.records[source, hour] += records
            landed.replayed[source, hour] += replayed


def _clusters(groups: Mapping[int, FileGroup]) -> list[list[int]]:
    """Return the groups' hours, together where they may hold the same records."""
    clusters: list[tuple[list[int], list[tuple[int, int, int, int, int]]]] = []
    for hour, group in sorted(groups.items()):
        hours, spans = [hour], list(group.spans)
        apart = []
        for other_hours, other_spans in clusters:
            if _overlap(spans, other_spans):
                hours, spans = [*other_hours, *hours], [*other_spans, *spans]
            else:
                apart.append((other_hours, other_spans))
        clusters = [*apart, (hours, spans)]
    return [hours for hours, _ in clusters]


def _overlap(
    spans: Iterable[tuple[int, int, int, int, int]],
    others: Sequence[tuple[int, int, int, int, int]],
) -> bool:
    return any(
        partition == other
        and first <= other_last
        and other_first <= last
        and began <= other_ended
        and other_began <= ended
        for partition, first, last, began, ended in spans
        for other, other_first, other_last, other_began, other_ended in others
    )
