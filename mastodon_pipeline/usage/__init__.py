"""Parquet to usage tables and charts."""
