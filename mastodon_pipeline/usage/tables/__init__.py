"""The usage tables: each is declared once, and made by one query, with one file a partition.

This room is free of Dagster: `mastodon_pipeline.usage.assets` turns the declarations into assets.
"""
