"""What the listening stage offers to Dagster."""

import dagster as dg

definitions = dg.Definitions()
