"""Whether to believe the tables."""
