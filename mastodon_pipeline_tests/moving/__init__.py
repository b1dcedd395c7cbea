"""What is copied from SQLite into PostgreSQL."""
