"""What the listening stage contributes to Dagster."""

import dagster as dg

from mastodon_pipeline.listening.assets import (
    mastodon_servers,
    mastodon_topic,
    mastodon_topic_observation_schedule,
    observe_mastodon_topic,
)
from mastodon_pipeline.listening.jobs import mastodon_backfill, mastodon_listener
from mastodon_pipeline.listening.sensors import listener_supervisor
from mastodon_pipeline.listening.supervising.checks import all_servers_reporting

definitions = dg.Definitions(
    assets=[mastodon_servers, mastodon_topic],
    asset_checks=[all_servers_reporting],
    jobs=[mastodon_listener, mastodon_backfill, observe_mastodon_topic],
    schedules=[mastodon_topic_observation_schedule],
    sensors=[listener_supervisor],
)
