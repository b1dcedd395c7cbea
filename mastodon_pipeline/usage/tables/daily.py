"""The daily tables as Dagster's assets: one query each, over the toots of the day alone."""

from collections.abc import Callable
from datetime import date
from functools import partial
from inspect import cleandoc

import dagster as dg

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.usage.checks import tables as checks
from mastodon_pipeline.usage.partitions import DAY_KEY, days, single_run
from mastodon_pipeline.usage.tables import columns
from mastodon_pipeline.usage.tables.building import build_daily
from mastodon_pipeline.usage.tables.hourly import toots
from mastodon_pipeline.usage.tables.lineage import LINEAGE
from mastodon_pipeline.usage.tables.materialising import (
    DAILY_FRESHNESS,
    OWNERS,
    RETRY,
    TABLE_KINDS,
    asked_days,
    build,
    check_result,
    shown_sql,
)

Check = tuple[str, str, Callable[[Lake, str, list[date]], checks.Finding]]
"""Name, description, and what finds the faults in some days of the table of a name."""


SUM: Check = (
    "toots_sum_to_the_day",
    "The rows add up to the day's toots, each counted once.",
    checks.toots_sum_to_the_day,
)


def _daily_asset(
    name: str,
    schema: dg.TableSchema,
    check: Check,
    description: str,
) -> dg.AssetsDefinition:
    """The asset of one of the `DAILY_TABLES`."""
    check_name, check_description, find = check

    @dg.asset(
        name=name,
        description=cleandoc(description),
        partitions_def=days,
        backfill_policy=single_run,
        deps=[toots],
        check_specs=[dg.AssetCheckSpec(check_name, asset=name, description=check_description)],
        group_name="usage",
        owners=OWNERS,
        kinds=TABLE_KINDS,
        retry_policy=RETRY,
        freshness_policy=DAILY_FRESHNESS,
        metadata={
            "dagster/column_schema": schema,
            "dagster/column_lineage": LINEAGE[name],
            "sql": shown_sql(f"usage/tables/{name}"),
        },
    )
    def daily_table(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
        with lake.open() as opened:
            asked = asked_days(context)
            build(context, opened, asked, partial(build_daily, table=name), DAY_KEY)
            found = find(opened, name, asked)
        return dg.MaterializeResult(check_results=[check_result(check_name, found)])

    return daily_table


daily_usage = _daily_asset(
    "daily_usage",
    columns.DAILY_USAGE,
    (
        "day_equals_its_hours",
        "The day's toots and servers equal those of toots_per_server_per_hour.",
        checks.day_equals_its_hours,
    ),
    """One row a UTC day: toots, users, servers, and who was most frequent.

    Public top-level toots that a configured server listed, also those deleted since. Accounts are
    told apart by name and home server; of equally frequent ones the alphabetically first is named.
    """,
)

app_usage = _daily_asset(
    "app_usage",
    columns.APP_USAGE,
    SUM,
    """A UTC day's toots and users by posting application, the most used first.

    Public top-level toots, bots' included. Only an author's home server tells the application: the
    row with the empty name holds the toots of homes that are not listened to, or do not tell it.
    """,
)

hour_of_day_usage = _daily_asset(
    "hour_of_day_usage",
    columns.HOUR_OF_DAY_USAGE,
    SUM,
    """A UTC day's toots and users by hour of the day: 24 rows.

    Public top-level toots by the time at which they were posted. An hour's zero may also mean that
    nobody was listening, or, today, that it is yet to come.
    """,
)

language_usage = _daily_asset(
    "language_usage",
    columns.LANGUAGE_USAGE,
    SUM,
    """A UTC day's toots and users by language, the most used first.

    Public top-level toots by the language that their authors' client set: the primary subtag, so
    that zh-CN and zh-TW are one. Those without a language are a row of their own, unknown.
    """,
)

language_density = _daily_asset(
    "language_density",
    columns.LANGUAGE_DENSITY,
    SUM,
    """How long a UTC day's toots are in each language: quartiles of their characters.

    Public top-level toots, those of pictures alone (no characters) and deleted ones included;
    characters are Unicode code points of the plain text.
    """,
)

term_mentions = _daily_asset(
    "term_mentions",
    columns.TERM_MENTIONS,
    (
        "mentions_are_possible",
        "No term is in more toots than the day has, nor in more toots than it is mentioned.",
        checks.mentions_are_possible,
    ),
    """How many of a UTC day's public toots mention each of the words and phrases in `TERMS`.

    Whole words in any case, hashtags and addresses included. Not found: what stands in toots that
    were deleted, or whose authors said noindex, since their text is not kept. Days keep the terms
    with which they were built; materialise them anew after a change of `TERMS`.
    """,
)
