"""What the machine lets the pipeline do, for `doctor`: clock, proxy, disk, memory, limits.

Each function returns one line, or raises Unhealthy with the fix.
"""

import os
import resource
import shutil
import time

from mastodon_pipeline.errors import PipelineError, ServerError, without_credentials
from mastodon_pipeline.listening.client.clock import (
    MAX_DIFFERENCE_SECONDS,
    clock_difference,
    wrong_clock,
)
from mastodon_pipeline.paths import data_directory
from mastodon_pipeline.proxies import proxies
from mastodon_pipeline.settings import Settings

MIN_FREE_DISK_BYTES = 2 * 1000**3
MIN_FREE_MEMORY_BYTES = 300 * 1000**2
_OTHER_FILES = 200
"""Open files of a listener beside its servers' connections."""
_REQUEST_TIMEOUT_SECONDS = 5.0


class Unhealthy(Exception):
    """This part is unhealthy; the message says why, and what fixes it."""


class Waiting(Exception):
    """This part has had nothing to do yet."""


def check_proxy(settings: Settings) -> str:
    """Say which proxy the environment names; `load_settings` has checked its form."""
    names = [f"{name}={without_credentials(proxy)}" for name, proxy in proxies()]
    if not names:
        return "none is set"
    return f"{', '.join(names)}; not used for {os.environ.get('NO_PROXY', 'any host')}"


def check_clock(settings: Settings) -> str:
    """Compare this machine's clock with that of the first configured server which answers."""
    for server in settings.servers()[:3]:
        if (difference := _clock_difference(settings, server.base_url)) is None:
            continue
        if problem := wrong_clock([difference]):
            raise Unhealthy(problem)
        return f"within {MAX_DIFFERENCE_SECONDS:.0f} s of {server.name}'s"
    return "not compared: no configured server answers with a date"


def _clock_difference(settings: Settings, url: str) -> float | None:
    """Return by how many seconds we are ahead of a server; None if it does not say its time."""
    from requests import RequestException

    from mastodon_pipeline.listening.client.session import ServerSession

    session = ServerSession(settings.user_agent, settings.mastodon_allow_private_addresses)
    try:
        with (
            session,
            session.head(url, timeout=_REQUEST_TIMEOUT_SECONDS, allow_redirects=False) as r,
        ):
            # A second's resolution, and the answer took some of the time.
            return clock_difference(r.headers, time.time())
    except (RequestException, ServerError, PipelineError, OSError):
        return None


def check_disk(settings: Settings) -> str:
    """Check that the disk of the data directory has room."""
    data = data_directory()
    existing = next(path for path in (data, *data.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    line = f"{free / 1e9:.1f} GB free in {existing}"
    if free < MIN_FREE_DISK_BYTES:
        raise Unhealthy(
            f"{line}: free some space (mastodon-pipeline maintain --dry-run), or set"
            " MASTODON_PIPELINE_DATA to a directory on another disk"
        )
    return line


def check_memory(settings: Settings) -> str:
    """Check that there is memory left, where the system tells."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        free = int(lines["MemAvailable"].split()[0]) * 1024  # with caches that can be dropped
    except (OSError, ValueError, KeyError):
        return "this system does not tell"
    line = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB available"
    if free < MIN_FREE_MEMORY_BYTES:
        raise Unhealthy(f"{line}: end other programs; the stack needs about 2 GB")
    return line


def check_limits(settings: Settings) -> str:
    """Check that a listener may open a connection for each server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(settings.servers()) + _OTHER_FILES
    if hard == resource.RLIM_INFINITY:
        return "open files: unlimited"
    if hard < needed:
        raise Unhealthy(
            f"a process may open {hard} files, and {needed} are needed: raise it (ulimit -Hn), or"
            " set LISTENER_GROUPS to spread the servers over more runs"
        )
    return f"a process may open {hard} files"
