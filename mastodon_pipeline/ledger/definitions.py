"""What the ledger contributes to Dagster."""

import dagster as dg

from mastodon_pipeline.lake.resource import LAKE
from mastodon_pipeline.ledger.assets import (
    every_toot_is_accounted_for,
    ledger_check,
)
from mastodon_pipeline.ledger.sensors import ledger_sensor

definitions = dg.Definitions(
    asset_checks=[every_toot_is_accounted_for],
    jobs=[ledger_check],
    sensors=[ledger_sensor],
    resources={"lake": LAKE},
)
