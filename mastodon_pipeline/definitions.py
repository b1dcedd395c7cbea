"""What Dagster loads: the stages' definitions, merged, and nothing else."""

import dagster as dg

from mastodon_pipeline.landing.definitions import definitions as landing
from mastodon_pipeline.listening.definitions import definitions as listening
from mastodon_pipeline.usage.definitions import definitions as usage

defs = dg.Definitions.merge(listening, landing, usage)
