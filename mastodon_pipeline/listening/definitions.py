"""What the listening stage contributes to Dagster."""

import dagster as dg

from mastodon_pipeline.listening.assets import (
    mastodon_servers,
    mastodon_topic,
    observe_mastodon_topic,
)
from mastodon_pipeline.listening.jobs import mastodon_backfill, mastodon_listener
from mastodon_pipeline.listening.sensors import listener_supervisor, mastodon_topic_sensor
from mastodon_pipeline.listening.supervising.checks import all_servers_reporting

definitions = dg.Definitions(
    assets=[mastodon_servers, mastodon_topic],
    asset_checks=[all_servers_reporting],
    jobs=[mastodon_listener, mastodon_backfill, observe_mastodon_topic],
    sensors=[listener_supervisor, mastodon_topic_sensor],
)
