"""What the landing stage offers to Dagster."""

import dagster as dg

from mastodon_pipeline.lake.resource import LAKE
from mastodon_pipeline.landing.assets import (
    landed_toots_check,
    landed_toots_check_schedule,
    landed_toots_complete,
    landed_toots_observation_schedule,
    landed_toots_spec,
    observe_landed_toots,
)
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sensors import connector_supervisor

definitions = dg.Definitions(
    assets=[landed_toots_spec],
    asset_checks=[landed_toots_complete],
    jobs=[kafka_connect_config, observe_landed_toots, landed_toots_check],
    schedules=[landed_toots_observation_schedule, landed_toots_check_schedule],
    sensors=[connector_supervisor],
    resources={"lake": LAKE},
)
