"""Kafka, schema registry, Kafka Connect, MinIO and Dagster as plain processes, without containers."""
