"""What Dagster loads: the stages' definitions, merged, and nothing else."""

import dagster as dg

from mastodon_pipeline.alerting import definitions as alerting
from mastodon_pipeline.landing import definitions as landing
from mastodon_pipeline.ledger import definitions as ledger
from mastodon_pipeline.listening import definitions as listening
from mastodon_pipeline.maintenance import definitions as maintenance
from mastodon_pipeline.usage import definitions as usage

defs = dg.Definitions.merge(
    listening.definitions,
    landing.definitions,
    usage.definitions,
    ledger.definitions,
    maintenance.definitions,
    alerting.definitions,
)
