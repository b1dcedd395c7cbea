"""Whether to believe the tables: each check is a query for what should not be there."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from mastodon_pipeline.lake.files import fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.inputs.clock_skew import told_before
from mastodon_pipeline.usage.inputs.removed_hours import HourRecords, hour_records

SHOWN = 5
"""Faults that a finding lists one by one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `faults` is empty where all is well."""

    compared: int
    """Partitions that were looked at."""
    faults: tuple[str, ...]
    unsettled: int = 0
    """Partitions left out, since newer input arrived meanwhile; they will be built anew."""

    @property
    def passed(self) -> bool:
        """No fault was found."""
        return not self.faults

    @property
    def summary(self) -> str:
        """One line, and the first of the faults."""
        left = f", {self.unsettled} left out as newer files arrived" if self.unsettled else ""
        lines = [f"{len(self.faults)} faults in {self.compared} partitions{left}"]
        return "\n".join([*lines, *self.faults[:SHOWN]])


def no_duplicate_toots(lake: Lake, hours: Iterable[datetime]) -> Finding:
    """No toot stands twice in these hours, nor in one of them and a neighbouring hour.

    Neighbours matter since a toot with a wild clock may land on both sides of an hour's end.
    """
    asked = sorted(set(hours))
    step = timedelta(hours=1)
    near = {hour + shift for hour in asked for shift in (-step, 0 * step, step)}
    files = [
        file.path
        for day in sorted({hour.date() for hour in near})
        for file in lake.parquet_files(lake.layout.toots_day(day))
        if file.path in {lake.layout.toots(hour) for hour in near}
    ]
    faults = [
        f"{uri}: {copies} copies, in {', '.join(f'{hour:%Y-%m-%d %H:%M}' for hour in where)}"
        for uri, copies, where in _rows(lake, "duplicate_toots", toots_files=files)
    ]
    return Finding(len(asked), tuple(faults))


def hours_equal_recount(lake: Lake, hours: Iterable[datetime]) -> Finding:
    """Each hour's `toots_per_server_per_hour` equals a recount straight from the landed files.

    Where these were removed, from the `toots` that were kept, and what landed since. An hour whose
    landed files are no longer those that its table was made from is left out: it is due to be
    built anew, and nothing follows from a difference.
    """
    compared, unsettled = 0, 0
    faults: list[str] = []
    for hour in hours:
        table = lake.layout.toots_per_server(hour)
        with hour_records(lake, hour) as records:
            built_from = lake.built_from([table]).get(table)
            # With no file in the folder, the table stands on files that were removed.
            expected = fingerprint(records.landed)
            if records.removed and not records.landed:
                toots = lake.layout.toots(hour)
                expected = lake.built_from([toots]).get(toots, "")
            if built_from != expected:
                unsettled += 1
                continue
            different = _rows(
                lake,
                "hour_recount",
                raw_files=_by_pattern(lake, hour, records),
                usage_file=table,
                hour_start=hour,
                **told_before(lake, hour),
            )
            landed = lake.parquet_files(lake.layout.landed_hour(hour))
            if fingerprint(landed) != fingerprint(records.landed):
                unsettled += 1
                continue
            compared += 1
            faults += [
                f"{hour:%Y-%m-%d %H:%M} {server or '(no server)'}: {_differences(counts)}"
                for server, *counts in different
            ]
    return Finding(compared, tuple(faults), unsettled)


def day_equals_its_hours(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """Each day's row in `table` (`daily_usage`) equals its `toots_per_server_per_hour`, summed.

    A day is left out while one of the two is behind `toots`, which both are made from.
    """
    compared, unsettled = 0, 0
    faults: list[str] = []
    for day in days:
        toots = lake.parquet_files(lake.layout.toots_day(day))
        usage = lake.parquet_files(lake.layout.toots_per_server_day(day))
        daily = lake.layout.daily(table, day)
        current = (
            sorted(lake.built_from(file.path for file in toots).values())
            == sorted(lake.built_from(file.path for file in usage).values())
            and len(toots) == len(usage) > 0
            and lake.built_from([daily]).get(daily) == fingerprint(toots)
        )
        if not current:
            unsettled += 1
            continue
        compared += 1
        faults += [
            f"{day}: {toots_} toots on {servers} servers, but its hours have"
            f" {toots_in_hours} on {servers_in_hours}"
            for _, toots_, toots_in_hours, servers, servers_in_hours in _rows(
                lake,
                "day_against_hours",
                daily_file=daily,
                usage_files=[file.path for file in usage],
                day=day,
            )
        ]
    return Finding(compared, tuple(faults), unsettled)


def toots_sum_to_the_day(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """The rows of a daily table add up to the toots of the day, each counted once."""
    return _against_toots(
        lake,
        "toots_against_day",
        table,
        days,
        lambda toots, counted: f"{toots} toots in {table}, but the day has {counted}",
    )


def mentions_are_possible(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """No term is in more toots than the day has, nor in more toots than it is mentioned."""
    return _against_toots(
        lake,
        "impossible_mentions",
        table,
        days,
        lambda term, toots, mentions, counted: (
            f"{term}: {mentions} mentions in {toots} toots, and the day has {counted}"
        ),
    )


def _against_toots(
    lake: Lake, name: str, table: str, days: Iterable[date], told: Callable[..., str]
) -> Finding:
    """A day whose table is behind `toots` is left out: it is due to be built anew."""
    compared, unsettled = 0, 0
    faults: list[str] = []
    for day in days:
        toots = lake.parquet_files(lake.layout.toots_day(day))
        daily = lake.layout.daily(table, day)
        if lake.built_from([daily]).get(daily) != fingerprint(toots):
            unsettled += 1
            continue
        compared += 1
        files = [lake.empty_record, *(file.path for file in toots)]
        found = _rows(lake, name, daily_file=daily, toots_files=files, day=day)
        faults += [f"{day}: {told(*row)}" for row in found]
    return Finding(compared, tuple(faults), unsettled)


def _by_pattern(lake: Lake, hour: datetime, records: HourRecords) -> list[str]:
    """The hour's files by a pattern: DuckDB then asks the object store of none of them before it
    reads it, which is half of what it asks.

    The pattern may meet other files than were listed, so whoever uses it lists them again.
    """
    landed = {file.path for file in records.landed}
    others = [path for path in records.paths if path not in landed]
    return [*others, f"{lake.layout.landed_hour(hour)}*.parquet"] if landed else others


def _rows(lake: Lake, name: str, **values: object) -> list[tuple[Any, ...]]:
    return lake.connection.execute(query(f"usage/checks/{name}"), values).fetchall()


_COUNTED = ("toots", "users", "bots", "replies", "languages", "seen_by")


def _differences(counts: list[int | None]) -> str:
    pairs = zip(_COUNTED, counts[::2], counts[1::2], strict=True)
    told = [f"{name} {said}, recounted {found}" for name, said, found in pairs if said != found]
    return "; ".join(told) or "another hour in the table"
