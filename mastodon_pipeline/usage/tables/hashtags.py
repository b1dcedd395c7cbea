"""`hashtag_usage`: the hashtags of each hour's toots."""

from datetime import datetime

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.usage.charts.chart import Chart
from mastodon_pipeline.usage.charts.hourly import TOP_HASHTAGS, draw_hashtags
from mastodon_pipeline.usage.checks.hashtags import HASHTAGS_EQUAL_RECOUNT
from mastodon_pipeline.usage.tables.building import build_from_toots
from mastodon_pipeline.usage.tables.table import BuiltPartition, Column, Grain, Table

_NAME = "hashtag_usage"


def build_hashtags(lake: Lake, hour: datetime) -> BuiltPartition:
    """Count the hour's hashtags. `hour`: its start, UTC.

    Raises TableError if the hour's `toots` have not been built.
    """
    return build_from_toots(lake, HASHTAG_USAGE, hour)


def _path(layout: Layout, hour: datetime) -> str:
    return layout.hourly(_NAME, hour)


HASHTAG_USAGE: Table[datetime] = Table(
    name=_NAME,
    grain=Grain.HOUR,
    description="""An hour's toots and users by hashtag, the most used first.

    Public top-level toots that a configured server listed, by when they were posted (UTC), bots'
    included. A hashtag is the same in any case, and however Unicode composes its letters; accents
    make another. A toot with several hashtags counts for each. Deleted toots are left out, since
    their hashtags are not kept.
    """,
    sources=("toots",),
    columns=(
        Column("hour", "TIMESTAMPTZ", "Start of the hour, UTC", ("created_at",)),
        Column(
            "tag",
            "VARCHAR",
            "The hashtag, without #, in lower case",
            ("tag_names",),
            previewed=False,
        ),
        Column(
            "spelling",
            "VARCHAR",
            "As most of the hour's toots write it; of equally frequent ones the first",
            ("tag_names",),
            previewed=False,
        ),
        Column(
            "toots", "BIGINT", "Public top-level toots posted in the hour that have it", ("uri",)
        ),
        Column(
            "users",
            "BIGINT",
            "Distinct accounts (name and home server) that posted them",
            ("username", "server"),
        ),
        Column("servers", "BIGINT", "Distinct home servers of these", ("server",)),
        Column(
            "languages",
            "BIGINT",
            "Distinct primary languages; unknown ones are not counted",
            ("language_primary",),
        ),
    ),
    checks=(HASHTAGS_EQUAL_RECOUNT,),
    path=_path,
    build=build_hashtags,
    charts=(
        Chart(
            "hashtags",
            "A day's most used hashtags (UTC), by the toots that have them.",
            draw_hashtags,
            query="usage/charts/hashtags",
            parameters={"top": TOP_HASHTAGS},
            columns_if_empty=("spelling", "toots", "hashtags"),
        ),
    ),
)
