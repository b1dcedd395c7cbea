"""The hourly tables as Dagster's assets: each finds its hours, builds them, and checks them."""

import dagster as dg

from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.usage.checks import tables as checks
from mastodon_pipeline.usage.partitions import HOUR_KEY, hours, single_run
from mastodon_pipeline.usage.tables import building as tables
from mastodon_pipeline.usage.tables import columns
from mastodon_pipeline.usage.tables.lineage import LINEAGE
from mastodon_pipeline.usage.tables.materialising import (
    HOURLY_FRESHNESS,
    OWNERS,
    RETRY,
    TABLE_KINDS,
    asked_hours,
    build,
    check_result,
    shown_sql,
)

UNSHOWN = (
    *("uri", "status_id", "url", "username", "acct"),
    *("mastodon_text", "tag_names", "event", "source", "visibility"),
)
"""Columns of `toots` that its preview leaves out: the event log would outlive a delete."""


@dg.asset(
    partitions_def=hours,
    backfill_policy=single_run,
    deps=["landed_toots"],
    check_specs=[
        dg.AssetCheckSpec(
            "no_duplicate_toots",
            asset="toots",
            description="Each toot stands once in its hour, and in neither neighbour.",
        )
    ],
    group_name="toots",
    owners=OWNERS,
    kinds=TABLE_KINDS,
    retry_policy=RETRY,
    freshness_policy=HOURLY_FRESHNESS,
    metadata={
        "dagster/column_schema": columns.TOOTS,
        "dagster/column_lineage": LINEAGE["toots"],
        "sql": shown_sql("usage/tables/toots"),
    },
)
def toots(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
    """Every public top-level toot seen, once, by the hour in which it was posted (UTC).

    Made from the landed records of the hour: copies and other servers' tellings of the same toot
    are one row, the newest edit wins. Deleted toots stay, as they were published, without their
    text; authors who said noindex are counted, and their text is not kept. Not in it, since
    Mastodon's public feeds leave them out: replies to others, boosts, unlisted posts.
    """
    with lake.open() as opened:
        asked = asked_hours(context)
        build(context, opened, asked, tables.build_toots, HOUR_KEY, UNSHOWN)
        found = checks.no_duplicate_toots(opened, asked)
    return dg.MaterializeResult(check_results=[check_result("no_duplicate_toots", found)])


@dg.asset(
    partitions_def=hours,
    backfill_policy=single_run,
    deps=[toots],
    check_specs=[
        dg.AssetCheckSpec(
            "hour_equals_recount",
            asset="toots_per_server_per_hour",
            description="The hour's counts equal a recount straight from the landed Parquet.",
        )
    ],
    group_name="usage",
    owners=OWNERS,
    kinds=TABLE_KINDS,
    retry_policy=RETRY,
    freshness_policy=HOURLY_FRESHNESS,
    metadata={
        "dagster/column_schema": columns.TOOTS_PER_SERVER_PER_HOUR,
        "dagster/column_lineage": LINEAGE["toots_per_server_per_hour"],
        "sql": shown_sql("usage/tables/toots_per_server_per_hour"),
    },
)
def toots_per_server_per_hour(
    context: dg.AssetExecutionContext, lake: LakeResource
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
    """How many toots each home server's accounts posted in each hour (UTC), and who saw them.

    Public top-level toots that a configured server listed, also those deleted since. A server that
    is not listened to itself counts only with what its neighbours saw of it.
    """
    with lake.open() as opened:
        asked = asked_hours(context)
        build(context, opened, asked, tables.build_toots_per_server, HOUR_KEY)
        found = checks.hours_equal_recount(opened, asked)
    return dg.MaterializeResult(check_results=[check_result("hour_equals_recount", found)])
