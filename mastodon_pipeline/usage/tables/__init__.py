"""The usage tables: one query and one file a partition each."""
