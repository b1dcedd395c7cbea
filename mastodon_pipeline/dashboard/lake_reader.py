"""The lake as the page reads it: with keys that only read, and little memory."""

import atexit
from contextlib import ExitStack

from mastodon_pipeline.dashboard.counts import Counts
from mastodon_pipeline.dashboard.live_toots import LiveToots
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.settings import Settings

MEMORY_LIMIT = "96MB"
"""Of DuckDB, before it spills to disk: the whole page is to stay within 250 MB."""

_OPEN = ExitStack()


def reading_settings(settings: Settings) -> Settings:
    """Return the settings with the dashboard's own keys of the object store, if it has any."""
    if not (settings.dashboard_access_key_id and settings.dashboard_secret_access_key):
        return settings
    return settings.model_copy(
        update={
            "aws_access_key_id": settings.dashboard_access_key_id,
            "aws_secret_access_key": settings.dashboard_secret_access_key,
        }
    )


def open_counts(settings: Settings) -> Counts:
    """Open the lake and the topic until `close_all`, or for as long as the process lives.

    Raises SettingsError if there are no credentials.
    """
    settings = reading_settings(settings)
    lake = _OPEN.enter_context(open_lake(settings))
    lake.connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    lake.connection.execute("SET http_retries = 1")
    # What is read again and again is in `TableRows`; the cache would hold files up to the limit.
    lake.connection.execute("SET enable_external_file_cache = false")
    # By default DuckDB returns to the system what it has freed once that is 128 MB.
    lake.connection.execute("SET allocator_flush_threshold = '1MB'")
    lake.connection.execute("SET allocator_bulk_deallocation_flush_threshold = '1MB'")
    live = LiveToots(settings)
    _OPEN.callback(live.close)
    counts = Counts(lake, live.take)
    _OPEN.callback(counts.close)
    return counts


def close_all() -> None:
    """Close what `open_counts` has opened, even while it is being read."""
    _OPEN.close()


atexit.register(close_all)
