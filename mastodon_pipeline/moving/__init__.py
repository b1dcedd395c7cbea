"""From SQLite files into PostgreSQL databases: Dagster's history, and the Iceberg catalog."""
