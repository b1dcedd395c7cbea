"""The lake: the bucket, its layout, and DuckDB over its Parquet files."""
