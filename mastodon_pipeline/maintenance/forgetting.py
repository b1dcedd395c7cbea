"""Forgetting a person or a server: what names them leaves the lake, what counts them stays.

In this order, so that nothing comes back: the list of the forgotten first, by which every later
build is nameless; then the landed files (see `nameless_files`); then `toots`, built again, and the
tables and pictures of their days. What lands later under a forgotten name, because it was in Kafka
still, came late or was replayed, is nameless in the tables at once, and in the landed files after
the next maintenance, which calls `forget_again`.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from mastodon_pipeline.errors import PipelineError, SettingsError
from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.forgotten import Forgotten
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.replacing import replace_file
from mastodon_pipeline.maintenance.lock import hold_lock
from mastodon_pipeline.maintenance.nameless_files import (
    find_naming_files,
    forget_old_snapshots,
    make_nameless,
)
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.paths import forgotten_file
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.charts.chart import draw_chart
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES, TOOTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ACCOUNT = re.compile(r"@?([^@\s/]{1,256})@([^@\s/]{1,256})")
_SERVER = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?")
_HOUR = re.compile(r"day=(\d{4}-\d{2}-\d{2})/hour=(\d{2})/")
_ROUNDS = 3
"""Files land while others are rewritten: they are looked for again."""


@dataclass(frozen=True, slots=True)
class Name:
    """Whom to forget."""

    account: str = ""
    """`user@server`, in lower case; '' for a server."""
    server: str = ""

    def __str__(self) -> str:
        return f"@{self.account}" if self.account else self.server


def parse_name(text: str) -> Name:
    """Return whom `@user@server`, or a server's domain, names. Raises SettingsError."""
    text = text.strip()
    if match := _ACCOUNT.fullmatch(text):
        return Name(f"{match[1].lower()}@{server_name(match[2])}")
    server = server_name(text.partition("://")[2].rstrip("/") if "://" in text else text)
    if not _SERVER.fullmatch(server) or "." not in server:
        raise SettingsError(f"{text!r} is neither @user@server nor a server")
    return Name(server=server)


@dataclass
class ForgetReport:
    """What was made nameless, or would be."""

    name: str
    dry_run: bool
    toots: int = 0
    landed_files: int = 0
    hours: list[datetime] = field(default_factory=list)
    days: list[date] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Files that still name them: to be tried again."""

    def lines(self, settings: Settings) -> list[str]:
        """Return the report for people."""
        would = "would be" if self.dry_run else "are"
        lines = [
            f"{self.name}: {self.toots:,} toots in {self.landed_files:,} landed files and"
            f" {len(self.hours):,} hours of {len(self.days):,} days {would} nameless"
        ]
        if not self.dry_run:
            lines += [f"{path} still names them: run this again" for path in self.left]
            letters = datetime.now(UTC) + timedelta(days=30)
            size = settings.kafka_topic_retention_bytes
            until = (
                "for good" if size < 0 else f"until {size:,} newer bytes a partition push it out"
            )
            lines += [
                f"Kafka keeps what it has: {settings.kafka_topic} {until},"
                f" {settings.dead_letter_topic} until {letters:%Y-%m-%d}",
                "backups keep what they have; what others wrote about them stays",
                "what still comes from them is nameless, too; BLOCKLIST records nothing of it",
            ]
        return lines


def forget(
    settings: Settings, name: Name, *, dry_run: bool = False, log: Callable[[str], object] = print
) -> ForgetReport:
    """Make everything in the lake that names a person or a server nameless.

    Repeating it is harmless, and so is killing it: the next run continues.

    Raises SettingsError if there is no salt, and as `maintain` does.
    """
    if settings.person_salt is None:
        raise SettingsError(
            "PERSON_SALT is not set, so that who was forgotten could not be recognised: make up"
            " writes it to .data/stack.env, or set it to a long random text and keep it"
        )
    report = ForgetReport(str(name), dry_run)
    with ExitStack() as stack:
        s3 = stack.enter_context(closing(s3_client(settings)))
        stack.enter_context(object_store_errors(settings))
        lock = None if dry_run else stack.enter_context(hold_lock(s3, settings))
        lake = stack.enter_context(open_lake(settings))
        lake.forgotten.prepare()
        remover = BucketRemover(s3, settings, lock, log)
        names = ([name.account] if name.account else [], [name.server] if name.server else [])
        alone = Forgotten(lake.salt).with_names(*names)
        if dry_run:
            _report_naming(lake, alone, report)
            return report
        _save_names(lake, *names)
        _write_local_list(lake.forgotten.current())
        _make_lake_nameless(settings, s3, lake, remover, alone, report)
    return report


def forget_again(
    settings: Settings, s3: "S3Client", lake: Lake, remover: BucketRemover
) -> ForgetReport | None:
    """Make nameless what landed since under forgotten names; None if nobody was forgotten."""
    forgotten = lake.forgotten.current().names
    if not forgotten:
        return None
    lake.forgotten.prepare()
    report = ForgetReport("the forgotten", dry_run=False)
    _make_lake_nameless(settings, s3, lake, remover, forgotten, report)
    return report


def _save_names(lake: Lake, accounts: Sequence[str], servers: Sequence[str]) -> None:
    change_list(lake, lambda forgotten: forgotten.with_names(accounts, servers))


def change_list(lake: Lake, change: Callable[[Forgotten], Forgotten]) -> None:
    """Change the lake's list of who was forgotten."""
    path = lake.layout.forgotten()

    def make(_: Sequence[StoredFile], local: str) -> None:
        lake.forgotten.expire()
        forgotten = change(lake.forgotten.current())
        values = {**forgotten.file_values, "path": local}
        lake.connection.execute(query("lake/save_forgotten"), values)

    replace_file(lake, path, make)
    lake.forgotten.expire()


def _write_local_list(forgotten: Forgotten) -> None:
    """Tell this machine's listeners and replays."""
    path = forgotten_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text("\n".join((*forgotten.accounts, *forgotten.servers, "")), "ascii")
    partial.replace(path)


def _report_naming(lake: Lake, forgotten: Forgotten, report: ForgetReport) -> None:
    landed = find_naming_files(lake, forgotten, _landed(lake), frozenset())
    toots = find_naming_files(lake, forgotten, _toots(lake), landed.uris)
    report.toots, report.landed_files = len(toots.uris), len(landed.files)
    report.hours = [hour for file in toots.files if (hour := hour_of(file)) is not None]
    report.days = sorted({hour.date() for hour in report.hours})


def _make_lake_nameless(
    settings: Settings,
    s3: "S3Client",
    lake: Lake,
    remover: BucketRemover,
    forgotten: Forgotten,
    report: ForgetReport,
) -> None:
    lake.landed.refresh(whole=True)
    uris: frozenset[str] = frozenset()
    for _ in range(_ROUNDS):
        landed = find_naming_files(lake, forgotten, _landed(lake), uris)
        uris = landed.uris
        if not landed.files:
            break
        report.landed_files += len(landed.files)
        make_nameless(settings, s3, lake, remover, forgotten, landed)
    toots = find_naming_files(lake, forgotten, _toots(lake), uris)
    report.toots = len(toots.uris)
    if settings.sink == "iceberg" and report.landed_files:
        forget_old_snapshots(settings, lake, remover)
    lake.landed.refresh(whole=True)
    hours = sorted(hour for file in toots.files if (hour := hour_of(file)) is not None)
    for number, hour in enumerate(hours, 1):
        remover.progress(f"building toots again: {number:,} of {len(hours):,} hours")
        make_hour_nameless(lake, hour)
    report.hours, report.days = hours, sorted({hour.date() for hour in hours})
    for day in report.days:
        build_days_tables(lake, remover, day)
    left = [
        *find_naming_files(lake, forgotten, _landed(lake), frozenset()).files,
        *find_naming_files(lake, forgotten, _toots(lake), frozenset()).files,
    ]
    report.left = [file.path for file in left]


def make_hour_nameless(lake: Lake, hour: datetime) -> None:
    """Build an hour (its start, UTC) again, by the list as it is now."""
    if lake.landed.of_hour(hour):
        for table in HOURLY_TABLES:
            table.build(lake, hour)
        return
    path = lake.layout.toots(hour)
    lake.forgotten.prepare()

    def make(files: Sequence[StoredFile], local: str) -> None:
        values = {
            **lake.forgotten.current().parameters,
            "file": path,
            "path": local,
            "built_from": lake.built_from([path]).get(path, ""),
        }
        if files:
            lake.connection.execute(query("maintenance/nameless_toots"), values)

    replace_file(lake, path, make, lambda: lake.parquet_files(path))
    for table in HOURLY_TABLES:
        if table is not TOOTS:
            table.build(lake, hour)


def build_days_tables(lake: Lake, remover: BucketRemover, day: date) -> None:
    """Build those of a day's tables again that are there, and draw their pictures that are.

    No sensor would: it sees that the tables are current.
    """
    for table in DAILY_TABLES:
        remover.progress(f"building {table.name} of {day} again")
        if any(lake.list_files(table.path(lake.layout, day))):
            table.build(lake, day)
    charts = [
        *((table.name, chart) for table in HOURLY_TABLES for chart in table.charts),
        *((table.name, chart) for table in DAILY_TABLES for chart in table.charts),
    ]
    for name, chart in charts:
        remover.progress(f"drawing {chart.name} of {day} again")
        if any(lake.list_files(lake.layout.chart(chart.name, day))):
            draw_chart(lake, chart, name, day)


def _landed(lake: Lake) -> list[StoredFile]:
    return lake.parquet_files(lake.layout.landed())


def _toots(lake: Lake) -> list[StoredFile]:
    return lake.parquet_files(lake.layout.table("toots"))


def hour_of(file: StoredFile) -> datetime | None:
    """Return the hour of a file of `toots`, UTC."""
    match = _HOUR.search(file.path)
    return datetime.fromisoformat(f"{match[1]}T{match[2]}:00+00:00") if match else None


def require_nothing_left(report: ForgetReport) -> None:
    """Raise PipelineError if files still name them."""
    if report.left:
        raise PipelineError(f"{len(report.left)} files still name {report.name}: run this again")
