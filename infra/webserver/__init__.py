"""Dagster's webserver behind a guard against foreign web pages, and with current partitions."""
