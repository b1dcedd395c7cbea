"""Measurements, each a table against its stated baseline from the same run: `make bench`."""
