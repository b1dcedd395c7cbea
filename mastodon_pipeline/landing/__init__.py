"""Kafka to Parquet in object storage, by Kafka Connect."""
