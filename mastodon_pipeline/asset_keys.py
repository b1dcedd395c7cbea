"""The keys of the assets that several stages refer to, so that none is spelled twice."""

import dagster as dg

SERVERS_ASSET = dg.AssetKey("mastodon_servers")
TOPIC_ASSET = dg.AssetKey("mastodon_topic")
LANDED_ASSET = dg.AssetKey("landed_toots")
