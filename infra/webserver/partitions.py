"""Shows the partitions as they are: Dagster's webserver asks for them once, when it starts.

The tables' first day moves back when older toots land (`mastodon_pipeline.usage.partitions`). The
code server knows then; the webserver gets its copy of the definitions again. Nothing is reloaded.
"""

import logging
import time
from threading import Thread
from typing import Any

from mastodon_pipeline.usage.remembered_day import READ_AGAIN_SECONDS, load_first_day

CHECK_SECONDS = 10.0
_log = logging.getLogger("dagster-webserver")


def keep_partitions_current(workspace: Any) -> None:
    """Start a thread that refreshes a workspace whenever the remembered first day has changed.

    `workspace`: Dagster's `IWorkspaceProcessContext`.
    """
    Thread(target=_watch, args=(workspace,), name="partitions", daemon=True).start()


def _watch(workspace: Any) -> None:
    shown = load_first_day(workspace.instance)
    while True:
        time.sleep(CHECK_SECONDS)
        try:
            remembered = load_first_day(workspace.instance)
            if remembered == shown:
                continue
            time.sleep(READ_AGAIN_SECONDS)  # until the code server has read it, too
            for name in workspace.create_request_context().code_location_names:
                workspace.refresh_code_location(name)
            shown = remembered
        except Exception:
            _log.exception("the partitions were not refreshed; they will be in a moment")
