"""After PERSON_RETENTION_DAYS nothing in the lake leads to a person; everything counts as before.

What is posted on a UTC day gets as old; then, for all its toots, text, address and page are gone,
and hashes with the lake's salt stand for names and uris: the same ones for the same person and
toot, so that distinct counts go on. Hashtags stay, since they are counted, and quote no sentence.

In this order, so that nothing comes back: the day first, in the list of the forgotten, by which
every later build is nameless (`usage.inputs.forgotten`); then the landed files (`nameless_files`);
then, day by day, `toots` and the tables made of them. How far it came is in the list, too: a run
that was killed is continued by the next one. What lands later of such a day, a late toot or a
replay, is nameless in the tables at once, joins its row by the hash of its uri, and is nameless in
the landed files after the next maintenance.

**What can be lost here, and what protects it.** The words of the day's toots are, on purpose: so
`term_mentions` keeps its rows (`Table.of_text`). Nothing else: landed files keep their rows and
Kafka's coordinates, and hours are built from them by the query that always builds them. The list
only grows: a setting that is raised, or switched off, brings nobody back, and a lake with a list is
built with its own salt only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.forgotten import Forgotten
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.maintenance.forgetting import (
    build_days_tables,
    change_list,
    hour_of,
    make_hour_nameless,
)
from mastodon_pipeline.maintenance.nameless_files import (
    NamingFiles,
    find_files_with_persons,
    forget_old_snapshots,
    make_nameless,
)
from mastodon_pipeline.maintenance.objects import BucketRemover
from mastodon_pipeline.settings import NO_SALT, Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ROUNDS = 3
"""Files land while others are rewritten: they are looked for again."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MARGIN = timedelta(days=1)
"""How much later than its stamp a file may be listed: writes take time."""
_DAY = timedelta(days=1)


@dataclass
class PersonRetention:
    """What was made nameless, or would be."""

    until: datetime
    """Whatever was posted before is nameless, UTC."""
    landed_files: int = 0
    hours: list[datetime] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Landed files that still name somebody: to be tried again."""


def retire_persons(
    settings: Settings,
    s3: "S3Client",
    lake: Lake,
    remover: BucketRemover,
    now: datetime,
    *,
    dry_run: bool = False,
) -> PersonRetention | None:
    """Make nameless what is PERSON_RETENTION_DAYS old; None if nothing ever has to be.

    Raises SettingsError if there is no salt, and as `maintain` does.
    """
    forgotten = lake.forgotten.current()
    until = _until(settings, forgotten, now)
    if until is None:
        return None
    if not lake.salt:
        raise SettingsError(NO_SALT)
    lake.forgotten.prepare()
    lake.landed.refresh(whole=True)
    planned = replace(forgotten, persons_until=until)
    report = PersonRetention(until)
    if dry_run:
        files = _find(lake, planned)
        report.landed_files = len(files)
        report.hours = _hours(lake, planned, files)
        return report
    if until != forgotten.persons_until:
        change_list(lake, lambda newest: replace(newest, persons_until=until))
    _retire(settings, s3, lake, remover, report)
    return report


def _until(settings: Settings, forgotten: Forgotten, now: datetime) -> datetime | None:
    """Return the begin of the first day that names people, None if all do."""
    known = forgotten.persons_until
    if not settings.person_retention_days:
        return known
    first = (now - timedelta(days=settings.person_retention_days)).date()
    until = datetime.combine(first, time(), UTC)
    return until if known is None else max(until, known)


def _retire(
    settings: Settings,
    s3: "S3Client",
    lake: Lake,
    remover: BucketRemover,
    report: PersonRetention,
) -> None:
    forgotten = lake.forgotten.current()
    newest_file = _newest_file(lake)
    hours: set[datetime] = set()
    for _ in range(_ROUNDS):
        files = _find(lake, forgotten)
        if not files:
            break
        report.landed_files += len(files)
        hours.update(_hours_of_files(lake, forgotten, files))
        naming = NamingFiles(tuple(files), frozenset())
        make_nameless(settings, s3, lake, remover, forgotten, naming)
        lake.landed.refresh(whole=True)
    if settings.sink == "iceberg" and report.landed_files:
        forget_old_snapshots(settings, lake, remover)
    _remove_accounts_of_other_salts(lake, remover)
    # A killed run may have rewritten files without building their hours: these are of days that
    # were not done by then, or stale, so that the sensor builds them.
    hours.update(_hours_to_build(lake, forgotten))
    report.hours = sorted(hours)
    for day in sorted({hour.date() for hour in hours}):
        of_day = [hour for hour in report.hours if hour.date() == day]
        for hour in of_day:
            remover.progress(f"building {hour:%Y-%m-%d %H:%M} UTC again, without names")
            make_hour_nameless(lake, hour)
        build_days_tables(lake, remover, day)
        _note_progress(lake, day)
    report.left = [file.path for file in _find(lake, forgotten)]

    def note_end(newest: Forgotten) -> Forgotten:
        if report.left:
            return newest
        return replace(newest, rewritten_until=forgotten.persons_until, files_until=newest_file)

    change_list(lake, note_end)


def _note_progress(lake: Lake, day: date) -> None:
    """Note that everything before the end of this day is built."""
    end = datetime.combine(day, time(), UTC) + _DAY
    done = lake.forgotten.current().rewritten_until
    if done is not None and end <= done:
        return  # a late toot's day

    def note(newest: Forgotten) -> Forgotten:
        return replace(newest, built_until=max(end, newest.built_until or end))

    change_list(lake, note)


def _find(lake: Lake, forgotten: Forgotten) -> list[StoredFile]:
    """Return the landed files that name people, though all before `persons_until` are nameless."""
    done, files_until = forgotten.rewritten_until, forgotten.files_until
    values = {
        "landed": lake.layout.landed(),
        "persons_until": forgotten.persons_until,
        "done": done or _BEGINNING,
        "since": files_until - _MARGIN if files_until is not None else _BEGINNING,
    }
    rows = lake.connection.execute(query("maintenance/landed_past_retention"), values).fetchall()
    files = [StoredFile(*row) for row in rows]
    return find_files_with_persons(lake, forgotten, files)


def _newest_file(lake: Lake) -> datetime | None:
    values = {"landed": lake.layout.landed()}
    row = lake.connection.execute(query("maintenance/newest_landed"), values).fetchone()
    return row[0] if row else None


def _hours(lake: Lake, forgotten: Forgotten, files: Iterable[StoredFile]) -> list[datetime]:
    return sorted({*_hours_to_build(lake, forgotten), *_hours_of_files(lake, forgotten, files)})


def _hours_of_files(
    lake: Lake, forgotten: Forgotten, files: Iterable[StoredFile]
) -> Iterable[datetime]:
    values = {"paths": [file.path for file in files]}
    rows = lake.connection.execute(query("maintenance/hours_of_files"), values).fetchall()
    return [
        hour
        for (hour,) in rows
        if forgotten.is_past_retention(hour) and lake.parquet_files(lake.layout.toots(hour))
    ]


def _hours_to_build(lake: Lake, forgotten: Forgotten) -> Iterable[datetime]:
    """Return the hours of `toots` that were not built yet since nobody is named in them."""
    table = lake.layout.table("toots")
    done = max(filter(None, (forgotten.rewritten_until, forgotten.built_until)), default=_BEGINNING)
    after = lake.layout.toots_day(done.date()) if done > _BEGINNING else ""
    hours = (hour for file in lake.list_files(table, after) if (hour := hour_of(file)) is not None)
    return [hour for hour in hours if done <= hour and forgotten.is_past_retention(hour)]


def _remove_accounts_of_other_salts(lake: Lake, remover: BucketRemover) -> None:
    """Remove what was written before there was this salt: hashes that anybody can try names on."""
    prefix = lake.layout.all_accounts()
    current = f"{prefix}{lake.accounts_key}"
    files = [file for file in lake.list_files(prefix) if not file.path.startswith(current)]
    if files:
        remover.remove(files)
