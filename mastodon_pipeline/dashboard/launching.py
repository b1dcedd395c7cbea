"""Starts Streamlit with the page, on this machine alone."""

from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from mastodon_pipeline.dashboard.periods import this_week
from mastodon_pipeline.dashboard.selection import Selection
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.without_pandas import without_pandas

LOOPBACK = "127.0.0.1"


def options(port: int) -> dict[str, Any]:
    """Return Streamlit's options, by the names of its command line; they win over its files."""
    return {
        "server_address": LOOPBACK,
        "server_port": port,
        "server_headless": True,
        # Nobody edits the page while it runs, and a watcher costs a thread and CPU.
        "server_fileWatcherType": "none",
        "server_runOnSave": False,
        "server_allowRunOnSave": False,
        "server_enableCORS": True,
        "server_enableXsrfProtection": True,
        # Else a page of another site could come in through a name that leads here.
        "server_allowedHosts": [LOOPBACK, "localhost", "[::1]"],
        "server_showEmailPrompt": False,
        "server_maxUploadSize": 1,
        "server_disconnectedSessionTTL": 60,
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "viewer",
        "client_showErrorDetails": "none",
        "client_showErrorLinks": "false",
        "runner_magicEnabled": False,
        "runner_fastReruns": True,
        "logger_hideWelcomeMessage": True,
        "logger_level": "warning",
    }


def run(port: int) -> None:
    """Serve the page until the process is stopped.

    Raises SettingsError where Streamlit is not installed.
    """
    require_packages()
    from streamlit.web import bootstrap

    page = Path(__file__).with_name("page.py")
    flags = options(port)
    bootstrap.load_config_options(flags)
    with without_pandas():
        Thread(target=_warm_up, name="warm up", daemon=True).start()
        bootstrap.run(str(page), False, [], flags)


def require_packages() -> None:
    """Raise SettingsError, which names the fix, where Streamlit or Altair is not installed."""
    try:
        import_module("streamlit")
        import_module("altair")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the dashboard needs {error.name}, which is not installed: pip install streamlit"
            " altair (in a checkout: make install)"
        ) from None


def _warm_up() -> None:
    """Import what the page needs, and open the lake, before the first visitor comes."""
    from contextlib import suppress
    from datetime import UTC, datetime

    from mastodon_pipeline.dashboard.showing import shared_counts, shared_health

    with suppress(Exception):  # the page says what is wrong
        counts, now = shared_counts(), datetime.now(UTC)
        counts.servers(now)
        counts.languages(now)
        counts.toots_between(this_week(now)[1], Selection(), now)
        shared_health().latest()
