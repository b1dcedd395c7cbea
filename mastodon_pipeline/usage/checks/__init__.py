"""Checks: whether to believe the tables."""
