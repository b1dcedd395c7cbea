"""What the listening stage offers to Dagster."""

import dagster as dg

from mastodon_pipeline.listening.assets import (
    mastodon_servers,
    mastodon_topic,
    mastodon_topic_observation_schedule,
    observe_mastodon_topic,
)
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.sensors import listener_supervisor

definitions = dg.Definitions(
    assets=[mastodon_servers, mastodon_topic],
    jobs=[mastodon_listener, observe_mastodon_topic],
    schedules=[mastodon_topic_observation_schedule],
    sensors=[listener_supervisor],
)
