"""Whether every landed toot is in `toots`, by hour of posting: each version is compared once."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import duckdb

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.ledger.state import Loss, State
from mastodon_pipeline.usage.inputs.forgotten import without_forgotten

HOUR = timedelta(hours=1)
PATIENCE = timedelta(minutes=10)
"""How long a toot may have landed before it must be in `toots`: a minute is usual."""


def missing_toots(
    lake: Lake, state: State, first: datetime, now: datetime
) -> tuple[list[Loss], int]:
    """Return what of the hours of posting from `first` to `now` (UTC) is in no `toots`.

    And how many hours were compared; the others have newer files, and are due to be built.
    """
    hours = [first + number * HOUR for number in range(max(0, (now - first) // HOUR) + 1)]
    landed = _files_of_hours(lake, hours)
    if not landed:
        return [], 0
    toots = {
        file.path: file
        for day in sorted({(hour + shift).date() for hour in hours for shift in (-HOUR, HOUR)})
        for file in lake.parquet_files(lake.layout.toots_day(day))
    }
    tabled, state.tabled = state.tabled, {}
    losses: list[Loss] = []
    compared = 0
    for hour, files in landed.items():
        tables = list(_tables(lake, toots, hour))
        version = f"{fingerprint(files)} {fingerprint(tables)}"
        started = int(hour.timestamp() * 1000)
        known = tabled.get(started)
        if known is not None and known[0] == version:
            rows = known[1]
        else:
            try:
                rows = _not_in_toots(lake, hour, files, tables)
            except duckdb.Error:
                if (
                    _files_of_hours(lake, [hour]).get(hour, ()) != files
                    or list(_tables(lake, _toots_now(lake, hour), hour)) != tables
                ):
                    continue  # replaced while they were read
                raise
        if rows and _is_due(lake, files, now):
            continue
        compared += 1
        state.tabled[started] = version, rows
        reason = _reason(lake, toots, hour, files)
        losses += [
            Loss("toots", source, started, count, reason, int(now.timestamp() * 1000))
            for source, count in rows
        ]
    return losses, compared


def _not_in_toots(
    lake: Lake, hour: datetime, files: Sequence[StoredFile], tables: Sequence[StoredFile]
) -> list[tuple[str, int]]:
    landed = [lake.empty_record, *(file.path for file in files)]
    with without_forgotten(lake, hour, landed) as raw_files:
        values = {
            "raw_files": list(raw_files),
            "toots_files": [lake.empty_record, *(file.path for file in tables)],
            "hour_start": hour,
        }
        rows = lake.connection.execute(query("ledger/not_in_toots"), values).fetchall()
    return [(source, count) for source, count in rows]


def _files_of_hours(
    lake: Lake, hours: Sequence[datetime]
) -> dict[datetime, tuple[StoredFile, ...]]:
    try:
        lake.landed.refresh()
    except BucketMissing:
        return {}
    return lake.landed.of_hours(hours)


def _toots_now(lake: Lake, hour: datetime) -> dict[str, StoredFile]:
    days = sorted({(hour + shift).date() for shift in (-HOUR, HOUR)})
    return {
        file.path: file for day in days for file in lake.parquet_files(lake.layout.toots_day(day))
    }


def _tables(lake: Lake, toots: Mapping[str, StoredFile], hour: datetime) -> Iterator[StoredFile]:
    """Give the `toots` of an hour and its neighbours."""
    for near in (hour - HOUR, hour, hour + HOUR):
        file = toots.get(lake.layout.toots(near))
        if file is not None:
            yield file


def _is_due(lake: Lake, files: Sequence[StoredFile], now: datetime) -> bool:
    """Return whether a file is so new that its toots may still wait for their build."""
    return now - max(file.modified for file in files) <= PATIENCE


def _reason(
    lake: Lake, toots: Mapping[str, StoredFile], hour: datetime, files: Sequence[StoredFile]
) -> str:
    path = lake.layout.toots(hour)
    if path not in toots:
        return f"landed, but {path} does not exist: materialize toots of that hour"
    if lake.built_from([path]).get(path) != fingerprint(files):
        return f"landed, but {path} is made of other files: materialize toots of that hour"
    return f"landed, but left out of {path}: materialize toots of that hour"
