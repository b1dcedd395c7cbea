"""The key of the asset that stands for the topic in Dagster."""

import dagster as dg

TOPIC_ASSET = dg.AssetKey("mastodon_topic")
