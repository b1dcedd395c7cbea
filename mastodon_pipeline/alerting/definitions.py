"""What alerting offers to Dagster."""

import dagster as dg

from mastodon_pipeline.alerting.sensors import alert_sensor

definitions = dg.Definitions(sensors=[alert_sensor])
