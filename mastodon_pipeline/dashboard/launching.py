"""Starts Streamlit with the page, on this machine alone."""

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.without_pandas import without_pandas

LOOPBACK = "127.0.0.1"
PREPARING_SECONDS = 30.0


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
        "logger_level": "error",
    }


def run(port: int, announce: Callable[[], None] = lambda: None) -> None:
    """Serve the page until the process is stopped.

    Before anybody can come, what the first visitor will see is counted; `announce` is called then.
    A lake that does not answer delays it by `PREPARING_SECONDS` at most.

    Raises SettingsError where Streamlit is not installed.
    """
    require_packages()
    from streamlit.web import bootstrap

    page = Path(__file__).with_name("page.py")
    flags = options(port)
    bootstrap.load_config_options(flags)
    with without_pandas():
        preparing = Thread(target=_prepare, name="prepare", daemon=True)
        preparing.start()
        preparing.join(PREPARING_SECONDS)
        announce()
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


def _prepare() -> None:
    # Here, since Streamlit must have its options first.
    from mastodon_pipeline.dashboard.showing import prepare

    with suppress(Exception):  # the page says what is wrong
        prepare()
