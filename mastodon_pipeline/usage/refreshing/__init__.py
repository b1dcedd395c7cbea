"""Keeping the tables current: what is behind, and the runs that build it."""
