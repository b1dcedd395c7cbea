"""What the tables say beside what the servers published."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
import duckdb

from infra.simulator.truth import TrueToot
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.ledger.assets import describe, every_toot_is_accounted_for
from mastodon_pipeline.ledger.checking import check_ledger
from mastodon_pipeline_tests.chaos.pipeline import Pipeline

_TOOTS = "SELECT uri, server, strftime(created_at, '%Y-%m-%d-%H') FROM read_parquet(?)"
_HOURS = """
SELECT server, strftime(hour, '%Y-%m-%d-%H'), toots
FROM read_parquet(?, union_by_name = true)
"""
_LOOK_EVERY_SECONDS = 3.0
_EVERYTHING_IS_DUE = timedelta(minutes=15)

ServerHour = tuple[str, str]
"""A server and an hour, `2026-11-24-09`."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the tables hold: rows of `toots`, and the hourly counts."""

    toots: tuple[tuple[str, str, str], ...] = ()
    """By row: uri, server, hour."""
    hours: dict[ServerHour, int] = field(default_factory=dict)


def read_tables(pipeline: Pipeline) -> Tables | None:
    """Return what the tables hold now, or None if they cannot be read now."""
    settings = pipeline.direct_settings
    root = f"s3://{settings.s3_bucket}"
    with (
        contextlib.suppress(duckdb.Error, UnicodeError, PipelineError),
        connect_lake(settings) as lake,
    ):
        toots = lake.execute(_TOOTS, [f"{root}/toots/*/*/*.parquet"]).fetchall()
        hourly = f"{root}/usage/toots_per_server_per_hour/*/*.parquet"
        hours = lake.execute(_HOURS, [hourly]).fetchall()
        return Tables(tuple(toots), {(server, hour): count for server, hour, count in hours})
    return None


def counted(pipeline: Pipeline) -> int:
    """Return how many toots are counted now; 0 if the tables cannot be read."""
    tables = read_tables(pipeline)
    return len(tables.toots) if tables else 0


class Freshness:
    """Reads the tables all the time: how long does a toot take from its server into `toots`?

    A context manager.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="freshness")
        self._seen: set[str] = set()
        self.stale_seconds_max = 0.0

    def __enter__(self) -> "Freshness":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()  # The tables may have become readable since the last time.

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_SECONDS):
            self._read()

    def _read(self) -> None:
        if (tables := read_tables(self._pipeline)) is None:
            return
        now = time.time()
        new = {uri for uri, *_ in tables.toots} - self._seen
        self._seen |= new
        for toot in self._pipeline.simulator.truth() if new else ():
            if toot.uri in new:
                posted = datetime.fromisoformat(toot.created_at).timestamp()
                self.stale_seconds_max = max(self.stale_seconds_max, now - posted)


@dataclass(frozen=True, slots=True)
class Balance:
    """What was published, what the tables hold, and the difference."""

    published: int
    in_toots: int
    lost: tuple[TrueToot, ...]
    duplicated: int
    wrong_hours: dict[ServerHour, tuple[int, int]]
    """Server-hours whose published and counted toots differ."""
    unnoticed: int = 0
    """What is lost, or was put aside, and turns no light red."""

    @property
    def even(self) -> bool:
        """Whether the tables equal the truth, and what was put aside is known."""
        return not (self.lost or self.duplicated or self.wrong_hours or self.unnoticed)


@dataclass(frozen=True, slots=True)
class LedgerVerdict:
    """What the ledger's check says at the end, and said while faults happened."""

    missing: int
    """Records, once everything is due."""
    losses: str
    checks: int
    red: int
    """Of the checks that Dagster ran during the chaos."""

    def __str__(self) -> str:
        state = f"red({self.missing})" if self.missing else "green"
        return f"ledger={state} ledger_checks={self.checks} ledger_red={self.red}"


def ledger_verdict(pipeline: Pipeline) -> LedgerVerdict:
    """Check the ledger as of a quarter of an hour later, when nothing is on its way any more.

    Raises PipelineError if a service does not answer.
    """
    settings = pipeline.direct_settings
    with open_lake(settings) as lake:
        ledger = check_ledger(settings, lake, lambda: datetime.now(UTC) + _EVERYTHING_IS_DUE)
    records = pipeline.instance.event_log_storage.get_asset_check_execution_history(
        every_toot_is_accounted_for.check_key, limit=100
    )
    evaluations = (record.evaluation for record in records)  # planned ones, too
    passed = [each.passed for each in evaluations if isinstance(each, dg.AssetCheckEvaluation)]
    return LedgerVerdict(
        ledger.open,
        describe(ledger),
        len(passed),
        passed.count(False),
    )


def compare(truth: Sequence[TrueToot], tables: Tables, unnoticed: int = 0) -> Balance:
    """Compare the tables with the truth, toot by toot and hour by hour."""
    rows = Counter(uri for uri, *_ in tables.toots)
    published = Counter((toot.server, toot.hour) for toot in truth)
    wrong = {
        hour: (published[hour], tables.hours.get(hour, 0))
        for hour in published.keys() | tables.hours.keys()
        if published[hour] != tables.hours.get(hour, 0)
    }
    return Balance(
        published=len(truth),
        in_toots=len(rows),
        lost=tuple(toot for toot in truth if toot.uri not in rows),
        duplicated=sum(rows.values()) - len(rows),
        wrong_hours=wrong,
        unnoticed=unnoticed,
    )
