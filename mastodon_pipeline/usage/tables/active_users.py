"""`active_users`: how many accounts posted on a day, in a week and in four weeks.

Reading 28 days of toots for each day would cost too much. So the accounts of each day are kept in a
file of their own (`Lake.accounts`), some ten bytes each, and a day is counted from 28 of these.
They are no table: they are made from `toots` again where they are missing.

An account is the same whether its name or its pseudonym stands in `toots`: because its owner opted
out meanwhile, or since it was PERSON_RETENTION_DAYS ago. That takes the lake's salt; without one
there is neither.

A day that changes late changes the figures of the 27 days after it. Each table's file carries the
fingerprint of the files that it was counted from, and whoever builds a day counts those days again
whose fingerprint is another now. Only the accounts decide: another toot of an account that had
posted on that day already changes no byte.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import takewhile

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.replacing import replace_file
from mastodon_pipeline.usage.charts.chart import Chart
from mastodon_pipeline.usage.charts.daily import TOP, draw_active_users
from mastodon_pipeline.usage.checks.active_users import ACTIVE_USERS_EQUAL_RECOUNT
from mastodon_pipeline.usage.tables.building import write_rows
from mastodon_pipeline.usage.tables.table import BuiltPartition, Column, Grain, Table

ALL = "ALL"
"""In place of a server: all of them. No server has a name in capitals (`server_names`)."""
DAY = timedelta(days=1)
WEEK_DAYS, MONTH_DAYS = 7, 28
_NAME = "active_users"

Counts = Sequence[Mapping[str, object]]
"""A day's toots by server."""


def build_active_users(lake: Lake, day: date) -> BuiltPartition:
    """Build a UTC day, and those of the 27 days after it that it changes."""

    def list_toots() -> Sequence[StoredFile]:
        return lake.parquet_files(lake.layout.toots_day(day))

    def write_accounts(toots: Sequence[StoredFile], local: str) -> tuple[str, Counts]:
        files = [lake.empty_record, *(file.path for file in toots)]
        _write_accounts(lake, files, local)
        return fingerprint(toots), _counts(lake, "toots_by_server", toots_files=files)

    _add_missing_accounts(lake, day)
    built_from, toots = replace_file(lake, lake.accounts(day), write_accounts, list_toots)
    built = _count(lake, day, built_from, toots)
    outdated = _outdated(lake, day)
    if outdated:
        _add_missing_accounts(lake, max(outdated) + DAY)
    for later in outdated:
        path = ACTIVE_USERS.path(lake.layout, later)
        known = _counts(lake, "toots_in_table", table_file=path, all=ALL)
        _count(lake, later, lake.built_from([path]).get(path, ""), known)
    return built


def accounts_until(lake: Lake, day: date, days: int = MONTH_DAYS) -> list[StoredFile]:
    """Return the files of the accounts of the `days` days that end with `day`, the oldest first."""
    first, last = (lake.accounts(each) for each in (day - (days - 1) * DAY, day))
    prefix = first[: -len(f"{day}.parquet")]
    # Up to and without the first: "day=2026-11-24" sorts before "day=2026-11-24.parquet".
    listed = lake.list_files(prefix, first.removesuffix(".parquet"))
    return list(takewhile(lambda file: file.path <= last, listed))


def _write_accounts(lake: Lake, toots_files: Sequence[str], path: str) -> None:
    values = {"toots_files": toots_files, "salt": lake.salt, "path": path}
    lake.forgotten.prepare()
    lake.connection.execute(query("usage/tables/accounts_of_day"), values)


def _count(lake: Lake, day: date, built_from: str, toots: Counts) -> BuiltPartition:
    path = ACTIVE_USERS.path(lake.layout, day)

    def make(accounts: Sequence[StoredFile], local: str) -> BuiltPartition:
        paths = [file.path for file in accounts]
        of_day = lake.accounts(day)
        first_of_week = lake.accounts(day - (WEEK_DAYS - 1) * DAY)
        values = {
            "of_day": [of_day],
            "of_week": [of_day, *(path for path in paths if first_of_week <= path < of_day)],
            "of_month": [of_day, *(path for path in paths if path < first_of_week)],
            "toots": list(toots),
            "day": day,
            "all": ALL,
            "built_from": built_from,
            "accounts": fingerprint(accounts),
        }
        return BuiltPartition(path, write_rows(lake, ACTIVE_USERS, local, values), len(accounts))

    return replace_file(lake, path, make, lambda: accounts_until(lake, day))


def _counts(lake: Lake, name: str, **values: object) -> Counts:
    rows = lake.connection.execute(query(f"usage/tables/{name}"), values).fetchall()
    return [{"server": server, "toots": toots} for server, toots in rows]


def _add_missing_accounts(lake: Lake, day: date) -> None:
    """Write the accounts of earlier days whose toots are built, where they are missing.

    So it is where the tables are older than this one.
    """
    known = {file.path for file in accounts_until(lake, day - DAY, MONTH_DAYS - 1)}
    earlier = [day - ago * DAY for ago in range(1, MONTH_DAYS)]
    if all(lake.accounts(each) in known for each in earlier):
        return
    first = lake.layout.toots_day(earlier[-1])
    last = lake.layout.toots_day(day)
    by_day: dict[str, list[StoredFile]] = {}
    listed = lake.list_files(lake.layout.table("toots"), first)
    for file in takewhile(lambda file: file.path < last, listed):
        by_day.setdefault(file.path[len(first) - 11 : len(first) - 1], []).append(file)
    for each in earlier:
        toots = by_day.get(str(each), [])
        path = lake.accounts(each)
        if not toots or path in known:
            continue

        def write(_: Sequence[StoredFile], local: str, toots: list[StoredFile] = toots) -> None:
            _write_accounts(lake, [lake.empty_record, *(file.path for file in toots)], local)

        replace_file(lake, path, write)


def _outdated(lake: Lake, day: date) -> list[date]:
    """Return those of the 27 days after `day` that were counted from other accounts."""
    days = {
        ACTIVE_USERS.path(lake.layout, later): later
        for later in (day + ahead * DAY for ahead in range(1, MONTH_DAYS))
    }
    first, last = ACTIVE_USERS.path(lake.layout, day), max(days)
    listed = lake.list_files(lake.layout.table(_NAME), first)
    built = [
        file.path for file in takewhile(lambda file: file.path <= last, listed) if file.path in days
    ]
    if not built:
        return []
    rows = lake.connection.execute(query("usage/tables/counted_accounts"), {"files": built})
    counted_from = dict(rows.fetchall())
    accounts = accounts_until(lake, day + (MONTH_DAYS - 1) * DAY, 2 * MONTH_DAYS - 1)

    def is_outdated(later: date) -> bool:
        oldest = lake.accounts(later - (MONTH_DAYS - 1) * DAY)
        newest = lake.accounts(later)
        files = [file for file in accounts if oldest <= file.path <= newest]
        return counted_from.get(ACTIVE_USERS.path(lake.layout, later)) != fingerprint(files)

    return [days[path] for path in built if is_outdated(days[path])]


def _path(layout: Layout, day: date) -> str:
    return layout.daily(_NAME, day)


def _accounts(name: str, of: str, days: str) -> Column:
    return Column(
        name,
        "BIGINT",
        f"Distinct accounts {of} that posted on {days}",
        ("username", "server", "bot"),
    )


_NO_BOTS, _BOTS = "that are no bots", "that are bots, as any of these toots says,"
_THE_DAY, _WEEK, _MONTH = "the day", "the seven days that end with it", "the 28 that end with it"

ACTIVE_USERS: Table[date] = Table(
    name=_NAME,
    grain=Grain.DAY,
    description="""How many accounts posted on a UTC day, in the week and in the four weeks that end
    with it: in all, and by home server.

    Accounts with a public top-level toot that a configured server listed, also those deleted since.
    An account is a name on a home server; who only replies, boosts or reads is not seen. Days on
    which nothing was listened to count as days on which nobody posted: the first four weeks of a
    lake are low. A server has a row if one of its accounts posted in the 28 days; the row ALL is
    the sum of the others.
    """,
    sources=("toots",),
    columns=(
        Column("day", "DATE", "The UTC day", ("created_at",)),
        Column("server", "VARCHAR", "The accounts' home server; ALL for all of them", ("server",)),
        Column(
            "toots",
            "BIGINT",
            "Public top-level toots posted on the day and seen, also those deleted since",
            ("uri", "server"),
        ),
        _accounts("people", _NO_BOTS, _THE_DAY),
        _accounts("people_7_days", _NO_BOTS, _WEEK),
        _accounts("people_28_days", _NO_BOTS, _MONTH),
        _accounts("bots", _BOTS, _THE_DAY),
        _accounts("bots_7_days", _BOTS, _WEEK),
        _accounts("bots_28_days", _BOTS, _MONTH),
    ),
    checks=(ACTIVE_USERS_EQUAL_RECOUNT,),
    path=_path,
    build=build_active_users,
    charts=(
        Chart(
            "active_users",
            "Accounts that posted on the day, in the week and in the four weeks that end with it.",
            draw_active_users,
            query="usage/charts/active_users",
            parameters={"top": TOP, "all": ALL},
        ),
    ),
)
