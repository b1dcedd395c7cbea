"""What maintenance offers to Dagster."""

import dagster as dg

from mastodon_pipeline.maintenance.jobs import lake_maintenance, lake_maintenance_schedule

definitions = dg.Definitions(jobs=[lake_maintenance], schedules=[lake_maintenance_schedule])
