"""Starts Streamlit with the page, on this machine alone."""

import ctypes
import gc
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.without_pandas import without_pandas

LOOPBACK = "127.0.0.1"
PREPARING_SECONDS = 30.0
_M_ARENA_MAX = -8
"""See: https://man7.org/linux/man-pages/man3/mallopt.3.html"""


def options(port: int, address: str = LOOPBACK) -> dict[str, Any]:
    """Return Streamlit's options, which win over its files."""
    return {
        "server.address": address,
        "server.port": port,
        "server.headless": True,
        # Nobody edits the page while it runs, and a watcher costs a thread and CPU.
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.allowRunOnSave": False,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        # Else a page of another site could come in through a name that leads here.
        "server.allowedHosts": [LOOPBACK, "localhost", "[::1]"],
        "server.showEmailPrompt": False,
        "server.maxUploadSize": 1,
        "server.disconnectedSessionTTL": 60,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "runner.magicEnabled": False,
        "runner.fastReruns": True,
        "logger.hideWelcomeMessage": True,
        "logger.level": "error",
    }


def run(port: int, announce: Callable[[], None] = lambda: None, address: str = LOOPBACK) -> None:
    """Serve the page until the process is stopped.

    Before anybody can come, what the first visitor will see is counted; `announce` is called then.
    A lake that does not answer delays it by `PREPARING_SECONDS` at most.

    Raises SettingsError where Streamlit is not installed.
    """
    require_packages()
    _share_arenas()
    import streamlit as st
    from starlette.middleware import Middleware
    from streamlit.web import bootstrap

    from mastodon_pipeline.dashboard.lake_reader import close_all
    from mastodon_pipeline.dashboard.page_files import PageFiles

    app = st.App(
        Path(__file__).with_name("page.py"),
        middleware=[Middleware(PageFiles, on_page=_Ahead().begin)],
    )
    bootstrap.load_config_options(options(port, address))
    # Streamlit's server stops at either signal, and then raises it again.
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    with without_pandas():
        try:
            preparing = Thread(target=_prepare, name="prepare", daemon=True)
            preparing.start()
            preparing.join(PREPARING_SECONDS)
            # Streamlit collects garbage after each run of the page, among all that is imported.
            gc.freeze()
            announce()
            app.run(config=options(port, address))
        finally:
            close_all()


def _share_arenas() -> None:
    """Let all threads allocate from two arenas, each of which keeps its peak: 15 MB less.

    Only glibc has them.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _exit(*_: object) -> None:
    raise SystemExit(0)


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


class _Ahead:
    """Counts a page's first numbers while its browser still loads the library."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "ahead")
        self._counting: Future[None] | None = None

    def begin(self, query: str) -> None:
        """Count the first numbers of the page with this query, unless others are being counted."""
        if self._counting is None or self._counting.done():
            self._counting = self._worker.submit(self._count, query)

    @staticmethod
    def _count(query: str) -> None:
        from mastodon_pipeline.dashboard.selection import selection_of
        from mastodon_pipeline.dashboard.showing import prepare_first_numbers

        with suppress(Exception):  # the page says what is wrong
            prepare_first_numbers(selection_of(parse_qs(query)))


def _prepare() -> None:
    # Here, since Streamlit must have its options first.
    from mastodon_pipeline.dashboard.showing import prepare

    with suppress(Exception):  # the page says what is wrong
        prepare()
