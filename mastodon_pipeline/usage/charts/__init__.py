"""The charts, drawn from the tables."""
