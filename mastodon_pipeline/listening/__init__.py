"""Mastodon-API servers to Avro records in Kafka."""
