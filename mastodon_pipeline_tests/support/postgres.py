"""A PostgreSQL server of a test's own, on loopback and in a temporary directory."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from infra.native_stack.ports import Ports
from mastodon_pipeline.dagster_database import with_driver

USER, PASSWORD = "pipeline", "sesame"
_DEBIAN = Path("/usr/lib/postgresql")


class PostgresServer:
    """A server that can be stopped and started again with its data."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._data = directory / "data"
        self._sockets = directory
        self.port = Ports.free().kafka_port
        self._user = None
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            self._user = "postgres"
            shutil.chown(directory, self._user)
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={password}")
        self._run("initdb", "-D", str(self._data), "--no-sync", "--encoding=UTF8", *options)

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create a database, and return its address."""
        name = f"database_{uuid.uuid4().hex[:12]}"
        engine = create_engine(with_driver(self.url()), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k '{self._sockets}'"
        self._run(
            "pg_ctl",
            "-D",
            str(self._data),
            "-w",
            "-l",
            str(self._sockets / "log"),
            "-o",
            options,
            "start",
        )

    def stop(self) -> None:
        """Stop it at once, and end its connections."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            cwd=self._sockets,
            stdout=subprocess.DEVNULL,  # a pipe would stay open in the server
            stderr=subprocess.STDOUT,
            timeout=300,
        )
        assert done.returncode == 0, f"{program} failed"


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server; skip the test by name where PostgreSQL is not installed."""
    programs = sorted(_DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))
    if not programs:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip("there is no user postgres, and PostgreSQL does not run as root")
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        server = PostgresServer(programs[-1], Path(directory))
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # the test has stopped it
                server.stop()
