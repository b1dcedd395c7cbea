"""Which files of the tables a figure reads, as the object store lists them."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from time import monotonic

from mastodon_pipeline.dashboard.periods import DAY, Span
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake

SAME_LISTING_SECONDS = 5.0


class TableFiles:
    """Lists files of the lake's tables; not for several threads at once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._toots: dict[tuple[date, date], list[str]] = {}
        """By the first and the last day."""
        self._toots_of: object = None
        self._toots_at = -SAME_LISTING_SECONDS

    def counted_days(self) -> tuple[date, date] | None:
        """Return the first and the last day that the daily tables have; None before there is one.

        Lists a file for each day: a request for a thousand days.
        """
        folder = self._lake.layout.table("active_users")
        names = [file.path.removeprefix(folder) for file in self._lake.list_files(folder)]
        days = sorted(name[4:14] for name in names if name.startswith("day="))
        return (date.fromisoformat(days[0]), date.fromisoformat(days[-1])) if days else None

    def of_hours(self, table: str, spans: Sequence[Span]) -> list[str]:
        """List the files of an hourly table of these spans' hours."""
        layout = self._lake.layout
        place = layout.toots if table == "toots" else partial(layout.hourly, table)
        files: list[str] = []
        for span in spans:
            begin = place(_hour_of(span.since))
            last = place(_hour_of(span.until - timedelta(seconds=1)))
            days = files_of_days(self._lake, table, span.since.date(), span.until.date())
            files += [file.path for file in days if begin <= file.path <= last]
        return files

    def of_toots(self, span: Span, cut: object) -> list[str]:
        """List the files of `toots` of a span's hours, once for a cut of the topic while it is new.

        Never as they were before the cut, which says which of them do not count everything yet.
        """
        if self._toots_of is not cut or monotonic() - self._toots_at >= SAME_LISTING_SECONDS:
            self._toots, self._toots_of, self._toots_at = {}, cut, monotonic()
        days = (span.since.date(), span.until.date())
        if days not in self._toots:
            self._toots[days] = [file.path for file in files_of_days(self._lake, "toots", *days)]
        begin = self._lake.layout.toots(_hour_of(span.since))
        return [path for path in self._toots[days] if path >= begin]


def files_of_days(lake: Lake, table: str, first: date, last: date) -> Iterator[StoredFile]:
    """Yield a table's files from one day to another, both included, in order."""
    folder = lake.layout.table(table)
    end = f"{folder}day={last + DAY}"
    for file in lake.list_files(folder, after=f"{folder}day={first}"):
        if file.path >= end:
            break
        if file.path.endswith(".parquet"):
            yield file


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
