"""Mastodon's bytes to typed objects. No network, no Kafka, no Dagster."""
