"""Dagster's webserver behind a guard: web pages of other origins cannot use it."""
