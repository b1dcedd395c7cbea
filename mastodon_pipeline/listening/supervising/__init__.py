"""Listener runs in Dagster: who listens to what, heartbeats, reports, checks."""
