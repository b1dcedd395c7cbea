"""Podman or Docker, whichever works here, and its Compose."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.native_stack.fetch import INFRA
from mastodon_pipeline.paths import REPOSITORY

BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
COMPOSE_FILE = INFRA / "docker-compose.yml"
DOCKERFILE = INFRA / "Dockerfile"
_NOT_IN_SLIM = (
    *("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/info"),
    *("usr/share/lintian", "usr/share/locale", "usr/share/man"),
)
_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_WITHOUT_SYSTEMD = INFRA / "podman-without-systemd.conf"


class NoEngine(Exception):
    """Containers cannot be built or run here; the message says why."""


@dataclass(frozen=True)
class Engine:
    """A container engine."""

    command: str
    """`podman` or `docker`."""
    compose_command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside our own."""

    def run(
        self, *arguments: str, check: bool = True, timeout_seconds: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine's command, and return what it printed."""
        return self._run((self.command, *arguments), check, timeout_seconds)

    def compose(
        self, *arguments: str, settings: Mapping[str, str], timeout_seconds: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Run Compose with our file; `settings` are variables of it."""
        command = (*self.compose_command, "-f", str(COMPOSE_FILE), *arguments)
        return self._run(command, True, timeout_seconds, settings)

    def _run(
        self,
        command: Sequence[str],
        check: bool,
        timeout_seconds: float,
        settings: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_seconds,
            cwd=REPOSITORY,
        )
        if check and done.returncode != 0:
            end = "\n".join(done.stdout.splitlines()[-40:])
            raise AssertionError(f"{' '.join(command[:6])} ... failed:\n{end}")
        return done

    @property
    def is_podman(self) -> bool:
        """Whether this is Podman."""
        return self.command == "podman"

    def size_bytes(self, image: str) -> int:
        """Return an image's size."""
        return int(json.loads(self.run("image", "inspect", image).stdout)[0]["Size"])


def find_engine() -> Engine:
    """Return an engine that runs here, Docker before Podman. Raises NoEngine."""
    if _succeeds("docker", "info") and _succeeds("docker", "compose", "version"):
        return Engine("docker", ("docker", "compose"))
    compose = Path(sys.executable).with_name("podman-compose")
    if shutil.which("podman") is None or not compose.exists():
        raise NoEngine("neither podman nor a running Docker is here")
    environment = {}
    if Path("/proc/1/comm").read_text().strip() != "systemd":
        # Then nobody else gives it cgroups, and asks for the containers' health.
        environment = {"CONTAINERS_CONF": str(_WITHOUT_SYSTEMD), "DISABLE_HC_SYSTEMD": "true"}
    engine = Engine("podman", (sys.executable, str(compose)), environment)
    if os.getuid() != 0 or engine.run("info", check=False).returncode != 0:
        raise NoEngine("podman does not work here, or not as root: see podman info")
    backend = engine.run("info", "--format", "{{.Host.NetworkBackend}}").stdout.strip()
    if backend == "cni" and not any((path / "dnsname").exists() for path in _CNI_DIRECTORIES):
        raise NoEngine(
            "podman's containers find each other by name only with a plugin: "
            "apt install golang-github-containernetworking-plugin-dnsname"
        )
    return engine


def build_image(engine: Engine, image: str) -> None:
    """Build the image, on a base that is pulled, or made by debootstrap where none is reached."""
    _require_base(engine)
    isolation = ("--isolation=chroot", "--format=docker") if engine.is_podman else ()
    authorities = os.environ.get("SSL_CERT_FILE", "")
    secret = ("--secret", f"id=ca,src={authorities}") if Path(authorities).is_file() else ()
    arguments = [
        f"--build-arg={name}={os.environ[name]}"
        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "GOPROXY")
        if os.environ.get(name)
    ]
    engine.run(
        *("build", *isolation, *secret, *arguments),
        *("-f", str(DOCKERFILE), "-t", image, str(REPOSITORY)),
        timeout_seconds=3600,
    )


def _require_base(engine: Engine) -> None:
    if engine.run("image", "inspect", BASE_IMAGE, check=False).returncode == 0:
        return
    if engine.run("pull", BASE_IMAGE, check=False).returncode == 0:
        return
    if shutil.which("debootstrap") is None or os.getuid() != 0:
        raise NoEngine(f"{BASE_IMAGE} cannot be pulled, nor made: debootstrap is missing")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        subprocess.run(
            ["debootstrap", "--variant=minbase", "bookworm", str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for name in _NOT_IN_SLIM:
            for path in (root / name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        archive = Path(directory) / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        engine.run("import", str(archive), BASE_IMAGE)


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
