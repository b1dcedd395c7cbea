"""Counts what happens on the Fediverse.

The folders are the stages a toot passes, in order: `listening` (Mastodon servers to Kafka),
`landing` (Kafka to Parquet), `usage` (Parquet to tables and charts). Nothing downstream is
imported upstream.
"""

from mastodon_pipeline.proxies import normalise_proxies

# Before any HTTP client reads the environment; the programs that we start inherit it.
normalise_proxies()
