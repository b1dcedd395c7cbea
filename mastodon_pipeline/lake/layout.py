"""Where each table's files are in the bucket: the layout that other readers may rely on.

| files | path below the bucket |
|---|---|
| landed records | `topics/<topic>/created_at_hour=YYYY-MM-DD-HH/*.parquet` (the sink's) |
| removed records | `removed/<topic>/created_at_hour=YYYY-MM-DD-HH/*.parquet` (their offsets) |
| `toots` | `toots/day=YYYY-MM-DD/hour=HH/toots.parquet` |
| `toots_per_server_per_hour` | `usage/toots_per_server_per_hour/day=YYYY-MM-DD/HH.parquet` |
| `daily_usage` and the other daily tables | `usage/<table>/day=YYYY-MM-DD/<table>.parquet` |
| charts | `charts/<chart>/day=YYYY-MM-DD.png` |

The hourly usage files are not in `hour=HH` folders: engines that read such folder names as
columns would put the number in place of the table's own `hour`. All days and hours are UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from mastodon_pipeline.settings import Settings

_HOUR_FOLDER = re.compile(r"created_at_hour=(\d{4}-\d{2}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one lake. Every path starts with `root`: `s3://mastodon`, or a directory."""

    root: str
    topic: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The layout of the bucket and topic that the settings name."""
        return cls(f"s3://{settings.s3_bucket}", settings.kafka_topic)

    def landed(self) -> str:
        """The prefix of everything that the sink wrote."""
        return f"{self.root}/topics/{self.topic}/"

    def landed_hour(self, hour: datetime) -> str:
        """The prefix of the records whose `created_at` lies in this hour."""
        return f"{self.landed()}created_at_hour={hour:%Y-%m-%d-%H}/"

    def hour_of(self, landed_file: str) -> datetime | None:
        """The start of the hour whose folder a landed file is in; None where it is in none."""
        folder = landed_file.removeprefix(self.landed()).partition("/")[0]
        named = _HOUR_FOLDER.fullmatch(folder)
        try:
            return named and datetime.strptime(named[1], "%Y-%m-%d-%H").replace(tzinfo=UTC)
        except ValueError:
            return None  # an hour or a day that no calendar has

    def removed_hour(self, hour: datetime) -> str:
        """The prefix of what maintenance tells of the hour's landed files that it removed."""
        return f"{self.root}/removed/{self.topic}/created_at_hour={hour:%Y-%m-%d-%H}/"

    def landed_removed(self) -> str:
        """An empty object, written anew whenever files of hours that may still change went."""
        return f"{self.root}/removed/{self.topic}/changed"

    def toots_day(self, day: date) -> str:
        """The prefix of a day's `toots`."""
        return f"{self.root}/toots/day={day:%Y-%m-%d}/"

    def toots(self, hour: datetime) -> str:
        """The file of an hour of `toots`."""
        return f"{self.toots_day(hour.date())}hour={hour:%H}/toots.parquet"

    def toots_per_server_day(self, day: date) -> str:
        """The prefix of a day's `toots_per_server_per_hour`."""
        return f"{self.root}/usage/toots_per_server_per_hour/day={day:%Y-%m-%d}/"

    def toots_per_server(self, hour: datetime) -> str:
        """The file of an hour of `toots_per_server_per_hour`."""
        return f"{self.toots_per_server_day(hour.date())}{hour:%H}.parquet"

    def daily(self, table: str, day: date) -> str:
        """The file of a day of a daily table."""
        return f"{self.root}/usage/{table}/day={day:%Y-%m-%d}/{table}.parquet"

    def chart(self, name: str, day: date) -> str:
        """The picture of a day."""
        return f"{self.root}/charts/{name}/day={day:%Y-%m-%d}.png"
