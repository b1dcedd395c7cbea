"""Counts what happens on the Fediverse.

The folders are the stages a toot passes, in order: `listening` (Mastodon servers to Kafka),
`landing` (Kafka to Parquet), `usage` (Parquet to tables and charts). Nothing downstream is
imported upstream.
"""
