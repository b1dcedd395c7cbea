"""What the page's figures count: queries over the lake, by one connection for all visitors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any
from weakref import finalize

import duckdb

from mastodon_pipeline.dashboard.live_toots import LiveFiles
from mastodon_pipeline.dashboard.open_lock import OpenLock
from mastodon_pipeline.dashboard.periods import DAY, HOUR, HOURLY_DAYS, Period, Span, start_of_day
from mastodon_pipeline.dashboard.selection import Selection
from mastodon_pipeline.dashboard.table_files import TableFiles
from mastodon_pipeline.dashboard.table_rows import TableRows
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query

Row = dict[str, Any]
SAME_CUT_SECONDS = 5.0
"""Visitors who come within this time see the same cut of the topic."""
LIVE_WAIT_SECONDS = 0.7
"""How long a page waits for a cut before it shows the tables alone."""
SETTLED_SECONDS = 60.0
"""Daily tables are listed again after this: a day is built every few minutes."""
CLOSING_SECONDS = 10.0
"""How long interrupted queries may take to end."""
SHOWN_SERVERS = 6
OTHERS = "others"
_HOURS = "toots_per_server_per_hour"
_NOTHING = Span(datetime(2016, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, tzinfo=UTC))
_WIDTHS = {"minute": timedelta(minutes=1), "hour": HOUR, "day": DAY}


class Counts:
    """Answers the page's questions. Methods may be called from several threads."""

    def __init__(self, lake: Lake, take_live: Callable[[], LiveFiles] = LiveFiles) -> None:
        self._lake, self._take_live = lake, take_live
        self._lock = OpenLock()
        self._cursors: set[duckdb.DuckDBPyConnection] = set()
        """Of queries that run beside the lock."""
        self._directory = TemporaryDirectory(prefix="mastodon_pipeline_dashboard_")
        finalize(self, self._directory.cleanup)
        self._rows = TableRows(lake)
        self._live, self._live_at = LiveFiles(), -SAME_CUT_SECONDS
        self._cuts = 0
        self._worker = ThreadPoolExecutor(1, "live toots")
        self._taking: Future[LiveFiles] | None = None
        self._recent_of: LiveFiles | None = None
        """The cut that the last two days' hours are of."""
        self._files = TableFiles(lake)
        self._settled: dict[str, tuple[date, date, float]] = {}
        self._nothing_replaced = str(Path(self._directory.name, "replaced.parquet"))
        lake.connection.execute(
            "COPY (SELECT '' AS file, '' AS uri WHERE false) TO $path (FORMAT parquet)",
            {"path": self._nothing_replaced},
        )
        self._select_toots([], _NOTHING, Selection(), LiveFiles())
        for name in ("selected_toots", "sources"):
            lake.connection.execute(query(f"dashboard/{name}"))

    def close(self) -> None:
        """Interrupt the queries that run, and refuse others (duckdb.ConnectionException).

        A thread that is still inside DuckDB when the interpreter ends aborts the process.
        """
        self._lock.refuse()
        end = monotonic() + CLOSING_SECONDS
        while (self._lock.busy() or self._cursors) and monotonic() < end:
            for connection in (self._lake.connection, *tuple(self._cursors)):
                connection.interrupt()
            sleep(0.05)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have the connection for this thread alone: what is read inside is of one cut."""
        with self._lock:
            yield

    def live(self) -> LiveFiles:
        """Return the cut of the topic that counts now.

        One that takes longer than a moment, since Kafka is away, is that of a later refresh.
        """
        with self._lock:
            if self._taking is None and monotonic() - self._live_at >= SAME_CUT_SECONDS:
                self._taking = self._worker.submit(self._take_live)
            if self._taking is not None:
                try:
                    self._live = self._taking.result(LIVE_WAIT_SECONDS)
                except TimeoutError:
                    return self._live
                self._taking, self._live_at = None, monotonic()
                self._cuts += 1
            return self._live

    def cut(self) -> int:
        """Return the number of the cut of the topic that counts now: what it counts stays."""
        with self._lock:
            self.live()
            return self._cuts

    def rows(self, name: str, values: Mapping[str, object], source: str = "") -> list[Row]:
        """Return the rows of a query of the page. `source`: what it reads, if it can differ."""
        result = self._lake.connection.execute(
            query(f"dashboard/{name}").replace("{source}", source), values
        )
        columns = [column[0] for column in result.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]

    def is_empty(self) -> bool:
        """Return whether no hour has been counted yet."""
        with self._lock:
            prefix = self._lake.layout.table(_HOURS)
            return not self.live().hours and next(iter(self._lake.list_files(prefix)), None) is None

    def counted_days(self) -> tuple[date, date] | None:
        """Return the first and the last day of the daily tables; None before there is one."""
        with self._lock:
            return self._files.counted_days()

    def servers(self, now: datetime) -> list[str]:
        """List the home servers of the last four weeks, the busiest first."""
        first = now.date() - 27 * DAY
        with self._lock:
            self.load_days("active_users", first, now.date())
            named = [row["server"] for row in self.rows("servers", {"first": first})]
            self._load_hours(Span(now - DAY, now), now)
            recent = self.rows("servers_of_hours", {"since": now - DAY})
        return list(dict.fromkeys([*named, *(row["server"] for row in recent)]))

    def languages(self, now: datetime) -> list[str]:
        """List the codes of the last four weeks' languages, the most used first; '' is unknown."""
        first = now.date() - 27 * DAY
        with self._lock:
            self.load_days("language_usage", first, now.date())
            return [row["code"] for row in self.rows("language_codes", {"first": first})]

    def newest_hour(self, now: datetime) -> datetime | None:
        """Return the newest hour of the tables, of the last two days."""
        with self._lock:
            self._load_hours(Span(now - DAY, now), now)
            [row] = self.rows("newest_hour", {})
        hour: datetime | None = row["hour"]
        return hour

    def coverage(self, now: datetime) -> list[Row]:
        """Return the newest week that each followed server has reported of itself."""
        with self._lock:
            self.load_days("server_coverage", now.date() - 2 * DAY, now.date())
            return self.rows("coverage", {})

    def accounts(self, selection: Selection, now: datetime) -> list[Row]:
        """Count the accounts of today, of seven and of 28 days, and those of as much before."""
        values = {
            "today": now.date(),
            "servers": list(selection.servers),
            "of_people": int(selection.bots != "only"),
            "of_bots": int(selection.bots != "without"),
        }
        with self._lock:
            self.load_days("active_users", now.date() - 28 * DAY, now.date())
            return self.rows("accounts_now", values)

    def load_days(self, table: str, first: date, last: date) -> None:
        """Have a table's rows of these days, at most `SETTLED_SECONDS` old."""
        begin, end, at = self._settled.get(table, (date.max, date.min, 0.0))
        if monotonic() - at >= SETTLED_SECONDS or first < begin or end < last:
            self._rows.refresh(table, first, last)
            self._settled[table] = (first, last, monotonic())

    def toots_between(self, span: Span, selection: Selection, now: datetime) -> int:
        """Count the toots of a span, up to the moment.

        Whole days that are settled are read from `active_users`, other whole hours from
        `toots_per_server_per_hour`, and parts of an hour from `toots`.
        """
        with self._lock:
            total = 0
            for source, part in self._parts(span, selection, now):
                self._load(source, part, selection, now)
                values = {"since": part.since, "until": part.until, "servers": selection.servers}
                [row] = self.rows("toots_between", _lists(values), source)
                total += row["toots"]
        return total

    def toots_by_server(self, period: Period, selection: Selection, now: datetime) -> list[Row]:
        """Count a period's toots by step and home server: the busiest, and the others together."""
        source = {
            "minute": "toots_one_by_one",
            "hour": "toots_by_hour",
            "day": "toots_by_day",
        }[period.step]
        if selection.by_author and period.step == "hour":
            source = "toots_one_by_one"
        with self._lock:
            self._load(source, period.span, selection, now)
            if source == "toots_by_day":
                settled = _settled_until(now)
                self._load_hours(Span(settled, now), now)
                self._set("settled_until", settled)
                source = "toots_by_day_and_hour"
            values = {
                "since": period.span.since,
                "until": period.span.until,
                "servers": selection.servers,
                "width": _WIDTHS[period.step],
                "most": SHOWN_SERVERS,
                "others": OTHERS,
            }
            return self.rows("toots_by_server", _lists(values), source)

    def over_toots(self, period: Period, selection: Selection) -> bool:
        """Return whether a figure counts `toots` themselves, which follow every filter.

        Of longer periods they would be too many files; these are counted from daily tables.
        """
        short = period.length <= HOURLY_DAYS * DAY
        return short and (selection.by_toot or not period.by_days)

    def of_toots_or_days(
        self, name: str, table: str, period: Period, selection: Selection, **values: object
    ) -> list[Row]:
        """Return the rows of a query in two forms: `<name>_of_toots`, `<name>_of_days`."""
        with self._lock:
            if self.over_toots(period, selection):
                return self.of_toots(f"{name}_of_toots", period, selection, **values)
            return self.of_days(f"{name}_of_days", table, period, selection, **values)

    def of_toots(
        self, name: str, period: Period, selection: Selection, **values: object
    ) -> list[Row]:
        """Return the rows of a query over the selected toots of a period."""
        with self._lock:
            self.select_toots(period.span, selection)
            return self.rows(name, values)

    def of_days(
        self, name: str, table: str, period: Period, selection: Selection, **values: object
    ) -> list[Row]:
        """Return the rows of a query over a daily table, for the days of a period."""
        days = period.span.days()
        values |= {"first": days[0], "last": days[-1], "languages": selection.languages}
        values["servers"] = selection.servers
        text = query(f"dashboard/{name}")
        with self._lock:
            self.load_days(table, days[0], days[-1])
            used = {key: value for key, value in values.items() if f"${key}" in text}
            return self.rows(name, _lists(used))

    def hour_files(self, table: str, spans: Sequence[Span]) -> list[str]:
        """List the files of an hourly table of these spans' hours."""
        with self._lock:
            return self._files.of_hours(table, spans)

    def rows_of_files(self, name: str, values: Mapping[str, object]) -> list[Row]:
        """Return the rows of a query over files, while other visitors' queries go on."""
        with self._lock:
            cursor = self._lake.connection.cursor()
            self._cursors.add(cursor)
        try:
            result = cursor.execute(query(f"dashboard/{name}"), values)
            columns = [column[0] for column in result.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
        finally:
            cursor.close()
            self._cursors.discard(cursor)

    def select_toots(self, span: Span, selection: Selection) -> None:
        """Have `selected_toots` show the selected toots of a span."""
        live = self.live()
        self._select_toots(self._files.of_toots(span, live), span, selection, live)

    def _select_toots(
        self, files: Sequence[str], span: Span, selection: Selection, live: LiveFiles
    ) -> None:
        empty = self._lake.empty_record
        variables: dict[str, object] = {
            "toots_files": [empty, *(path for path in files if path not in live.toots_behind)],
            "toots_base": [empty, *live.toots_base],
            "toots_replaced": [self._nothing_replaced, *live.toots_replaced],
            "toots_local": [empty, *live.toots_local],
            "since": span.since,
            "until": span.until,
            "servers": list(selection.servers),
            "languages": list(selection.languages),
            "bots": selection.bots,
        }
        for name, value in variables.items():
            self._set(name, value)

    def _set(self, name: str, value: object) -> None:
        kind = "::VARCHAR[]" if isinstance(value, list) else ""
        self._lake.connection.execute(f"SET VARIABLE {name} = (SELECT $1{kind})", [value])

    def _load(self, source: str, span: Span, selection: Selection, now: datetime) -> None:
        if source == "toots_by_day":
            self.load_days("active_users", span.since.date(), span.days()[-1])
        elif source == "toots_by_hour":
            self._load_hours(span, now)
        else:
            self.select_toots(span, selection)

    def _load_hours(self, span: Span, now: datetime) -> None:
        """Have the counts of a span's hours: of the last two days as of the cut that counts now."""
        days, recent = span.days(), _settled_until(now).date()
        if days[0] < recent:
            self.load_days(_HOURS, days[0], min(days[-1], recent - DAY))
        if days[-1] >= recent and self._recent_of is not (live := self.live()):
            self._rows.refresh(_HOURS, recent, now.date(), live.hours)
            self._recent_of = live

    def _parts(self, span: Span, selection: Selection, now: datetime) -> list[tuple[str, Span]]:
        """Return how a span is read: the source and the span of each part."""
        if selection.by_author and span.until - span.since <= HOURLY_DAYS * DAY:
            return [("toots_one_by_one", span)]
        if span.until >= now:  # the running hour, as far as it has come
            span = Span(span.since, _next_hour(now))
        first_hour, last_hour = _next_hour(span.since), _hour_of(span.until)
        if first_hour > last_hour:
            return [("toots_one_by_one", span)]
        first_day = start_of_day((first_hour + DAY - timedelta(microseconds=1)).date())
        end_of_days = min(start_of_day(last_hour.date()), _settled_until(now))
        if first_day >= end_of_days:
            first_day = end_of_days = last_hour
        parts = [
            ("toots_one_by_one", Span(span.since, first_hour)),
            ("toots_by_hour", Span(first_hour, first_day)),
            ("toots_by_day", Span(first_day, end_of_days)),
            ("toots_by_hour", Span(end_of_days, last_hour)),
            ("toots_one_by_one", Span(last_hour, span.until)),
        ]
        return [(source, part) for source, part in parts if part.since < part.until]


def _settled_until(now: datetime) -> datetime:
    """Return until when the daily tables have all toots but late ones: the day before's start."""
    return start_of_day(now.date() - DAY)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _next_hour(moment: datetime) -> datetime:
    """Return the next full hour, or the moment if it is one."""
    hour = _hour_of(moment)
    return hour if hour == moment else hour + HOUR


def _lists(values: Mapping[str, object]) -> dict[str, object]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}
