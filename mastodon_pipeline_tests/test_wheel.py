"""The wheel, installed outside the checkout: nothing in it may depend on the checkout's files."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from infra.native_stack import Stack
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import load_settings

pytestmark = pytest.mark.thorough
PACKAGE = REPOSITORY / "mastodon_pipeline"
LOADS_EVERYTHING = """
import mastodon_pipeline, mastodon_pipeline.definitions
from mastodon_pipeline.schemas import connector_template, schema_text
assert "site-packages" in mastodon_pipeline.__file__
assert schema_text() and connector_template("iceberg") and connector_template("s3")
"""


def uv(*arguments: str | Path, check: bool = True) -> int:
    """Run the checkout's uv, or the one on PATH, and return its exit code."""
    path = REPOSITORY / ".uv" / "path"
    program = path.read_text().strip() if path.exists() else shutil.which("uv")
    assert program, "there is no uv: run make install"
    return subprocess.run([program, *arguments, "--quiet"], check=check).returncode


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution by the build backend of the lock."""
    directory = tmp_path_factory.mktemp("dist")
    uv(
        "build",
        REPOSITORY,
        "--out-dir",
        directory,
        "--no-build-isolation",
        "--python",
        sys.executable,
    )
    [wheel] = directory.glob("*.whl")
    return wheel


class Installed:
    """The wheel in an environment of its own, with a current directory that has nothing else."""

    def __init__(self, wheel: Path, directory: Path) -> None:
        venv = directory / "venv"
        self.directory = directory / "current"
        self.directory.mkdir()
        self.bin = venv / "bin"
        uv("venv", "--python", sys.executable, venv)
        install = (
            *("pip", "install", "--python", self.bin / "python", wheel),
            *("--constraint", REPOSITORY / "requirements.lock"),
        )
        # The cache has what `make install` has installed; the network is asked if it was cleared.
        if uv(*install, "--offline", check=False):
            uv(*install)

    def popen(self, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a program of the environment, with no settings but those of its directory."""
        return subprocess.Popen(
            [self.bin / arguments[0], *arguments[1:]],
            cwd=self.directory,
            env={name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        """Run a program of the environment, and return what it prints."""
        with self.popen(arguments) as process:
            stdout, stderr = process.communicate(timeout=900)
        assert process.returncode == 0, stderr
        return stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def test_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    """SQL, the Avro schema, connector configurations and py.typed are package data."""
    in_wheel = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    in_checkout = {
        str(path.relative_to(REPOSITORY))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert in_wheel == in_checkout
    suffixes = {Path(name).suffix for name in in_wheel} | {Path(name).name for name in in_wheel}
    assert {".sql", ".json", ".avsc", "py.typed"} <= suffixes


def test_installed_wheel_loads_every_definition(installed: Installed) -> None:
    """No module reads a file of the checkout, such as those of infra."""
    installed.run("python", "-c", LOADS_EVERYTHING)
    assert "Print the records of the topic" in installed.run("mastodon-pipeline", "--help")
    assert "0.1.0" in installed.run("mastodon-pipeline", "--version")


def test_installed_wheel_listens_with_the_settings_of_the_current_directory(
    installed: Installed,
) -> None:
    """Its `.env` allows the simulator's address and holds the token, so the server streams."""
    policy = ServerPolicy("stream.example")
    with Simulator(Options(servers=(policy,), toots=0, start="control")) as simulator:
        server = simulator.servers[0]
        lines = [f"{name}={value}\n" for name, value in simulator.environment.items()]
        (installed.directory / ".env").write_text("".join(lines))
        with installed.popen(
            ["mastodon-pipeline", "listen", "--base-url", server.base_url]
        ) as process:
            try:
                simulator.wait_until(lambda: len(server.streams) > 0 and server.served["polls"] > 0)
                simulator.publish()
                assert process.stdout is not None
                assert "@stream.example" in process.stdout.readline()
                process.send_signal(signal.SIGINT)
                stderr = process.communicate(timeout=900)[1]
            finally:
                process.kill()
    assert process.returncode == 0, stderr
    assert "1 toots, 0 deletes" in stderr


def test_installed_wheel_queries_the_stack_of_the_current_directory(
    installed: Installed, stack: Stack
) -> None:
    """Its `.data/stack.env` names the object store and holds the keys."""
    ensure_bucket(load_settings())
    data = installed.directory / ".data"
    data.mkdir(exist_ok=True)
    shutil.copy(stack.env_file, data)
    output = installed.run("mastodon-pipeline", "sql", "--csv", "SELECT 6 * 7 AS answer")
    assert output == "answer\n42\n"
