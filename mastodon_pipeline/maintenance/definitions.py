"""What maintenance offers to Dagster."""

import dagster as dg

from mastodon_pipeline.maintenance.jobs import (
    forget_person_or_server,
    lake_maintenance,
    lake_maintenance_schedule,
)
from mastodon_pipeline.maintenance.run_history_job import (
    run_history_maintenance,
    run_history_maintenance_schedule,
)

definitions = dg.Definitions(
    jobs=[lake_maintenance, forget_person_or_server, run_history_maintenance],
    schedules=[lake_maintenance_schedule, run_history_maintenance_schedule],
)
