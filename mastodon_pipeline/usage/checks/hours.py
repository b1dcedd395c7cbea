"""Checks of the hourly tables: each is a query for rows that should not exist."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mastodon_pipeline.lake.files import fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.check import Check, Finding, compare_each
from mastodon_pipeline.usage.inputs.clock_skew import counted_in_previous_hour
from mastodon_pipeline.usage.inputs.hour_records import HourRecords, hour_records

HOUR = timedelta(hours=1)


def no_duplicate_toots(lake: Lake, hours: Iterable[datetime]) -> Finding:
    """Find toots that are twice in one of these hours, or in one of them and a neighbour.

    Neighbours matter since a toot whose clock is wrong may land on both sides of a full hour.
    """
    asked = sorted(set(hours))
    near = {hour + shift for hour in asked for shift in (-HOUR, 0 * HOUR, HOUR)}
    paths = {lake.layout.toots(hour) for hour in near}
    files = [
        file.path
        for day in sorted({hour.date() for hour in near})
        for file in lake.parquet_files(lake.layout.toots_day(day))
        if file.path in paths
    ]
    duplicates = lake.connection.execute(
        query("usage/checks/duplicate_toots"), {"toots_files": files}
    ).fetchall()
    faults = [
        f"{uri}: {copies} copies, in {', '.join(f'{hour:%Y-%m-%d %H:%M}' for hour in copy_hours)}"
        for uri, copies, copy_hours in duplicates
    ]
    return Finding(len(asked), tuple(faults))


def hours_equal_recount(lake: Lake, hours: Iterable[datetime]) -> Finding:
    """Compare each hour's `toots_per_server_per_hour` with a recount of the landed files.

    If these were removed: of the `toots` that remain, and what landed since. An hour whose landed
    files are no longer those that its table was made from is skipped: it is due to be built again,
    and a difference would prove nothing.
    """

    def find_faults(hour: datetime) -> list[str] | None:
        with hour_records(lake, hour) as records:
            if not _is_current(lake, hour, records):
                return None
            differences = _recount(lake, hour, records)
        return [
            f"{hour:%Y-%m-%d %H:%M} {server or '(no server)'}: {_describe(counts)}"
            for server, *counts in differences
        ]

    return compare_each(hours, find_faults)


def _is_current(lake: Lake, hour: datetime, records: HourRecords) -> bool:
    table = lake.layout.toots_per_server(hour)
    # With no landed file left, the table was made from files that were removed.
    expected = fingerprint(records.landed)
    if records.removed and not records.landed:
        toots = lake.layout.toots(hour)
        expected = lake.built_from([toots]).get(toots, "")
    return lake.built_from([table]).get(table) == expected


def _recount(lake: Lake, hour: datetime, records: HourRecords) -> list[tuple[Any, ...]]:
    values = {
        "raw_files": list(records.paths),
        "hour_start": hour,
        "slices": records.slices,
        **counted_in_previous_hour(lake, hour),
    }
    usage_file = lake.layout.toots_per_server(hour)
    # Beside other local copies: it may be a large hour.
    with TemporaryDirectory(prefix="recount-", dir=Path(lake.empty_record).parent) as directory:
        files = [f"{directory}/{number}.parquet" for number in range(records.slices)]
        for number, file in enumerate(files):
            sliced = {**values, "slice": number, "path": file}
            lake.connection.execute(query("usage/checks/reported_toots"), sliced)
        recounted = {"reported_files": files, "usage_file": usage_file, "hour_start": hour}
        return lake.connection.execute(query("usage/checks/hour_recount"), recounted).fetchall()


_COUNTS = ("toots", "users", "bots", "replies", "languages", "seen_by")


def _describe(counts: list[int | None]) -> str:
    pairs = zip(_COUNTS, counts[::2], counts[1::2], strict=True)
    differing = [
        f"{name} {count}, recounted {recount}" for name, count, recount in pairs if count != recount
    ]
    return "; ".join(differing) or "another hour in the table"


NO_DUPLICATE_TOOTS: Check[datetime] = Check(
    "no_duplicate_toots",
    "Each toot is in its hour once, and in neither neighbouring hour.",
    lambda lake, _, hours: no_duplicate_toots(lake, hours),
)
HOUR_EQUALS_RECOUNT: Check[datetime] = Check(
    "hour_equals_recount",
    "The hour's counts equal a recount straight from the landed Parquet.",
    lambda lake, _, hours: hours_equal_recount(lake, hours),
)
