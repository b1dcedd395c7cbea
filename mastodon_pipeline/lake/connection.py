"""DuckDB that reads and writes the object store: `s3://` paths, through httpfs.

The connection is in memory, so any number of processes may have one at once: the tables are
Parquet objects, and there is no database file to lock.

See: https://duckdb.org/docs/stable/core_extensions/httpfs/s3api
"""

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import duckdb

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.bucket import s3_credentials
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.settings import Settings

LAKE_CONFIG: Mapping[str, str] = {
    "memory_limit": "2GB",  # DuckDB's own default is 80 % of the machine, for each run
    # Everything needed is installed: a missing extension must fail, not be downloaded.
    "autoinstall_known_extensions": "false",
}


def connect_lake(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that reads and writes the object store; the caller closes it.

    Time zone UTC, all cores, and 2 GB of memory before it spills to its own temporary directory.

    Raises SettingsError as `prepare_lake` does.
    """
    connection = duckdb.connect(":memory:", config=dict(LAKE_CONFIG))
    try:
        prepare_lake(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare_lake(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Give a connection httpfs, the object store's keys, UTC, and a directory to spill to.

    Raises SettingsError if there are no credentials, or if S3_ENDPOINT is not an address.
    """
    endpoint = urlsplit(settings.s3_endpoint)
    if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
        raise SettingsError(
            f"S3_ENDPOINT {settings.s3_endpoint!r} is not an address; write it like"
            " http://127.0.0.1:9000"
        )
    keys = s3_credentials(settings)
    # LOAD takes no parameters; the path is our own environment's.
    connection.execute(f"LOAD {_quoted(str(_httpfs_extension()))}")
    connection.execute(query("lake/forget_keys"))
    connection.execute("SET TimeZone = 'UTC'")
    # One for each connection: two that share one overwrite each other's files and crash.
    spill = f"{_process_directory()}/{token_hex(8)}"
    connection.execute(f"SET temp_directory = {_quoted(spill)}")
    # In a process that another one spawned, as a run is, DuckDB expects a person at a prompt. In a
    # notebook it has no bar, and without ipywidgets refuses even to disable it.
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchone() != (False,):
        connection.execute("SET enable_progress_bar = false")
    connection.execute(
        "SET http_retries = 5"
    )  # waits of 0.1 s, then four times as long each: outlasts some 30 s
    # Whichever HTTP client DuckDB uses: one of its two does not verify unless told to.
    connection.execute("SET enable_server_cert_verification = true")
    if settings.services_ca_file:
        connection.execute(f"SET ca_cert_file = {_quoted(str(settings.services_ca_file))}")
    if proxy_bypass(endpoint.hostname):
        connection.execute("SET http_proxy = ''")  # DuckDB honours HTTP_PROXY, but not NO_PROXY
    connection.execute(
        query("lake/object_store_secret"),
        {
            "key_id": keys.access_key_id,
            "secret": keys.secret_access_key,
            "session_token": keys.session_token or "",
            "endpoint": endpoint.netloc,
            "use_ssl": endpoint.scheme == "https",
            "region": settings.aws_region,
        },
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@cache
def _process_directory() -> str:
    """Create this process' temporary directory, readable by its owner alone: toots spill to it."""
    directory = tempfile.mkdtemp(prefix="mastodon_pipeline_duckdb_")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _httpfs_extension() -> Path:
    """Return the path of the signed httpfs extension, from its wheel: no download is needed."""
    name = f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension"
    with as_file(files("duckdb_extension_httpfs").joinpath(name)) as path:
        if not path.exists():
            raise SettingsError(
                f"duckdb {duckdb.__version__} has no matching duckdb-extension-httpfs; install"
                " both in the version that requirements.lock names (make install)"
            )
        return path
