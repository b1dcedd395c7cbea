"""Podman or Docker, and its Compose."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.native_stack.cache import cache_directory
from infra.native_stack.fetch import INFRA, find_artifacts
from mastodon_pipeline.paths import REPOSITORY

COMPOSE_FILE = INFRA / "docker-compose.yml"
DOCKERFILE = INFRA / "Dockerfile"
_TIMED_OUT = 124
"""The exit code of a command that took too long, as that of `timeout`."""


@dataclass(frozen=True)
class Engine:
    """A container engine."""

    command: str
    """`podman` or `docker`."""
    compose_command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside our own."""

    def run(
        self, *arguments: str, check: bool = True, timeout_seconds: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine's command, and return what it printed."""
        return self._run((self.command, *arguments), check, timeout_seconds)

    def compose(
        self, *arguments: str, settings: Mapping[str, str], timeout_seconds: float = 1800
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
        with subprocess.Popen(
            command,
            env={**os.environ, **self.environment, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,  # so that what it started can be killed with it
        ) as process:
            try:
                output, _ = process.communicate(timeout=timeout_seconds)
                status = process.returncode
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                output, _ = process.communicate()
                output, status = f"{output}\nnot within {timeout_seconds:g} s", _TIMED_OUT
        if check and status != 0:
            end = "\n".join(output.splitlines()[-40:])
            raise AssertionError(f"{' '.join(command[:6])} ... failed:\n{end}")
        return subprocess.CompletedProcess(command, status, output)

    @property
    def is_podman(self) -> bool:
        """Whether this is Podman."""
        return self.command == "podman"

    @property
    def build_options(self) -> tuple[str, ...]:
        """What Podman needs where it is in a container itself; health checks need the format."""
        return ("--isolation=chroot", "--format=docker") if self.is_podman else ()

    @property
    def has_named_contexts(self) -> bool:
        """Whether `--build-context` is known: to Podman 4, and to Docker since 23."""
        version = self.run("version", "--format", "{{.Server.Version}}", check=False).stdout
        major = version.partition(".")[0]
        return self.is_podman or (major.isdecimal() and int(major) >= 23)

    def image_id(self, image: str) -> str:
        """Return an image's id, or '' if there is none."""
        answer = self.run("image", "inspect", "--format", "{{.Id}}", image, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    def size_bytes(self, image: str) -> int:
        """Return an image's size, uncompressed."""
        return int(json.loads(self.run("image", "inspect", image).stdout)[0]["Size"])


def build_image(engine: Engine, image: str) -> None:
    """Build the image of this checkout on the base image, which is here.

    What the native stack has downloaded and built on this machine is used. The image's predecessor
    is deleted.
    """
    predecessor = engine.image_id(image)
    authorities = os.environ.get("SSL_CERT_FILE", "")
    secret = ("--secret", f"id=ca,src={authorities}") if Path(authorities).is_file() else ()
    arguments = [
        f"--build-arg={name}={os.environ[name]}"
        for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "GOPROXY")
        if os.environ.get(name)
    ]
    if find_artifacts(cache_directory()) and engine.has_named_contexts:
        arguments.append(f"--build-context=fetched={cache_directory()}")
    engine.run(
        *("build", *engine.build_options, *secret, *arguments),
        *("-f", str(DOCKERFILE), "-t", image, str(REPOSITORY)),
        timeout_seconds=3600,
    )
    if predecessor not in ("", engine.image_id(image)):
        engine.run("image", "rm", predecessor, check=False)
