"""Where everything is in the bucket: the layout that other readers may rely on.

| files | path below the bucket |
|---|---|
| landed records | `topics/<topic>/kafka_timestamp_day=YYYY-MM-DD/*.parquet` (written by the sink) |
| landed until 2026-11-26 | `topics/<topic>/created_at_hour=YYYY-MM-DD-HH/*.parquet` |
| removed records | `removed/<topic>/created_at_hour=YYYY-MM-DD-HH/*.parquet` (their coordinates) |
| `toots` | `toots/day=YYYY-MM-DD/hour=HH/toots.parquet` |
| `toots_per_server_per_hour`, `hashtag_usage` | `usage/<table>/day=YYYY-MM-DD/HH.parquet` |
| `daily_usage` and the other daily tables | `usage/<table>/day=YYYY-MM-DD/<table>.parquet` |
| charts | `charts/<chart>/day=YYYY-MM-DD.png` |

A landed file may hold records of any post hour: its folder only says on which day Kafka took
them.

The pipeline's own: `index/<topic>/files/*.parquet`, `index/accounts/<key>/*.parquet` (which
accounts posted on a day, see `usage.tables.active_users`), `ledger/<topic>/*.parquet`,
`forgotten/<topic>.parquet`,
`removed/<topic>/changed` and `removed/maintenance.lock`. The Iceberg table's metadata is below
`warehouse/`.

The hourly usage files are not in `hour=HH` folders: engines that read such folder names as
columns would put the number in place of the table's own `hour`. All days and hours are UTC.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self
from urllib.parse import quote

from mastodon_pipeline.settings import Settings

_DAY_FOLDER = re.compile(r"kafka_timestamp_day=(\d{4}-\d{2}-\d{2})")
_HOUR_FOLDER = re.compile(r"created_at_hour=(\d{4}-\d{2}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one lake. Every path starts with `root`: `s3://mastodon`, or a directory."""

    root: str
    topic: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the layout of the bucket and topic that the settings name."""
        return cls(f"s3://{settings.s3_bucket}", settings.kafka_topic)

    def key(self, path: str) -> str:
        """Return the object key of a path: the path without the root."""
        return path.removeprefix(f"{self.root}/")

    def landed(self) -> str:
        """The prefix of everything that the sink wrote."""
        return f"{self.root}/topics/{self.topic}/"

    def landed_hour(self, hour: datetime) -> str:
        """The prefix of an hour's records in lakes from before 2026-11-26, by `created_at`."""
        return f"{self.landed()}{_hour_folder(hour)}"

    def landed_days(self) -> str:
        """The prefix of the folders by day of arrival; folders of other names sort around them."""
        return f"{self.landed()}kafka_timestamp_day="

    def landed_day(self, day: date) -> str:
        """The prefix of the records that Kafka took on this day."""
        return f"{self.landed_days()}{day:%Y-%m-%d}/"

    def uncounted(self) -> str:
        """The prefix of landed records that no table counts, left by maintenance for good."""
        return f"{self.landed()}not_counted/"

    def end_of_folder(self, folder: str) -> datetime | None:
        """Return when the day or hour ended (UTC) that a folder of landed files is named by."""
        name = folder.removeprefix(self.landed())
        day, hour = _DAY_FOLDER.fullmatch(name), _HOUR_FOLDER.fullmatch(name)
        with suppress(ValueError):  # an hour or a day that no calendar has
            if day:
                return _utc(day[1], "%Y-%m-%d") + timedelta(days=1)
            if hour:
                return _utc(hour[1], "%Y-%m-%d-%H") + timedelta(hours=1)
        return None

    def landed_index(self) -> str:
        """The prefix of the objects that remember what the landed files hold, see `lake.landed`."""
        return f"{self.root}/index/{self.topic}/files/"

    def index_group(self, path: str) -> str:
        """Return the name of the index's object that a landed file, or a receipt, is in.

        By its folder, and folders of hours by day. Groups sort as the paths of their files do.
        """
        below = path.removeprefix(self.landed()).removeprefix(self.removed())
        folder = below.rpartition("/")[0].partition("/")[0]
        if match := _HOUR_FOLDER.fullmatch(folder):
            folder = folder[:-3]
        if not path.startswith(self.landed()):
            return f"removed={match[1][:10] if match else ''}"
        return quote(folder, safe="=") or "_"

    def topic_generations(self) -> str:
        """The file with the topics of this name that were seen, see `landing.generations`."""
        return f"{self.root}/ledger/{self.topic}/topics.parquet"

    def need_not_land(self) -> str:
        """The file with the offsets that were seen to hold nothing that has to land."""
        return f"{self.root}/ledger/{self.topic}/need_not_land.parquet"

    def accepted_offsets(self) -> str:
        """How many lost offsets a person has accepted."""
        return f"{self.root}/ledger/{self.topic}/accepted_offsets.json"

    def landed_positions(self) -> str:
        """The listeners' positions, as far as what they cover has landed."""
        return f"{self.root}/ledger/{self.topic}/positions.json.gz"

    def ledger_state(self) -> str:
        """What the ledger remembers between two checks."""
        return f"{self.root}/ledger/{self.topic}/state.json.gz"

    def forgotten(self) -> str:
        """The file with the hashes of who asked to be forgotten, see `lake.forgotten`."""
        return f"{self.root}/forgotten/{self.topic}.parquet"

    def removed(self) -> str:
        """The prefix of the receipts for landed files that maintenance removed."""
        return f"{self.root}/removed/{self.topic}/"

    def removed_hour(self, hour: datetime) -> str:
        """The prefix of the receipts for the hour's landed files: their Kafka coordinates."""
        return f"{self.removed()}{_hour_folder(hour)}"

    def removal_marker(self) -> str:
        """An empty object, written again whenever files of hours that may still change go."""
        return f"{self.removed()}changed"

    def maintenance_lock(self) -> str:
        """The object that one maintenance at a time holds, whatever its topic."""
        return f"{self.root}/removed/maintenance.lock"

    def table(self, name: str) -> str:
        """The prefix of all files of a table."""
        return f"{self.root}/{name}/" if name == "toots" else f"{self.root}/usage/{name}/"

    def table_day(self, name: str, day: date) -> str:
        """The prefix of a day's files of a table."""
        return f"{self.table(name)}day={day:%Y-%m-%d}/"

    def toots_day(self, day: date) -> str:
        """The prefix of a day's `toots`."""
        return self.table_day("toots", day)

    def toots(self, hour: datetime) -> str:
        """The file of an hour of `toots`."""
        return f"{self.toots_day(hour.date())}hour={hour:%H}/toots.parquet"

    def toots_per_server_day(self, day: date) -> str:
        """The prefix of a day's `toots_per_server_per_hour`."""
        return self.table_day("toots_per_server_per_hour", day)

    def toots_per_server(self, hour: datetime) -> str:
        """The file of an hour of `toots_per_server_per_hour`."""
        return self.hourly("toots_per_server_per_hour", hour)

    def hourly(self, table: str, hour: datetime) -> str:
        """The file of an hour of an hourly table other than `toots`."""
        return f"{self.table_day(table, hour.date())}{hour:%H}.parquet"

    def daily(self, table: str, day: date) -> str:
        """The file of a day of a daily table."""
        return f"{self.table_day(table, day)}{table}.parquet"

    def accounts(self, day: date, key: str) -> str:
        """The file of the accounts that posted on a day. `key`: `Lake.accounts_key`."""
        return f"{self.all_accounts()}{key}day={day:%Y-%m-%d}.parquet"

    def all_accounts(self) -> str:
        """The prefix of the files of accounts."""
        return f"{self.root}/index/accounts/"

    def chart(self, name: str, day: date) -> str:
        """The picture of a day."""
        return f"{self.root}/charts/{name}/day={day:%Y-%m-%d}.png"


def _utc(text: str, form: str) -> datetime:
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _hour_folder(hour: datetime) -> str:
    return f"created_at_hour={hour:%Y-%m-%d-%H}/"
