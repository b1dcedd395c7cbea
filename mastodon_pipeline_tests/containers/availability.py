"""Whether containers can be built and run here, tried before a trial of ours begins.

What is missing on a machine is then a reason to skip, and what fails later is our fault.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from infra.native_stack.fetch import INFRA
from mastodon_pipeline_tests.containers.engine import Engine

BASE_IMAGE = "docker.io/library/debian:bookworm-slim"
DISK_BYTES, MEMORY_BYTES = 12e9, 4e9
"""What must be free for all stages of the image, and for all containers."""
BASE_SECONDS = 900.0
_NOT_IN_SLIM = (
    *("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/info"),
    *("usr/share/lintian", "usr/share/locale", "usr/share/man"),
)
_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_WITHOUT_SYSTEMD = INFRA / "podman-without-systemd.conf"


class NoEngine(Exception):
    """Containers cannot be built or run here; the message says why."""


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
    if os.getuid() != 0:
        raise NoEngine("podman runs everything of ours only as root")
    form = "{{.Host.NetworkBackend}} {{.Store.GraphDriverName}}"
    backend, driver = _require(engine, "podman does not work", "info", "--format", form).split()
    if backend == "cni" and not any((path / "dnsname").exists() for path in _CNI_DIRECTORIES):
        raise NoEngine(
            "podman's containers find each other by name only with a plugin: "
            "apt install golang-github-containernetworking-plugin-dnsname"
        )
    if driver == "vfs":
        raise NoEngine("podman has no overlayfs, and would copy an image for each of its layers")
    return engine


def require_containers(engine: Engine) -> None:
    """Try to run a container and to build an image, in seconds. Raises NoEngine."""
    require_space(engine)
    require_base_image(engine)
    _require(engine, "no container runs", "run", "--rm", BASE_IMAGE, "true")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nRUN apt-get update -q\n")
        build = ("build", *engine.build_options, "--no-cache", "--quiet", directory)
        image = _require(engine, "what is built does not reach Debian's archive", *build)
        engine.run("image", "rm", "--force", image.splitlines()[-1], check=False)


def require_space(engine: Engine) -> None:
    """Raise NoEngine unless there are disk and memory for what we build and run."""
    if engine.is_podman:
        root = _require(engine, "podman does not work", "info", "--format={{.Store.GraphRoot}}")
        if shutil.disk_usage(root).free < DISK_BYTES:
            raise NoEngine(f"{root} has less than {DISK_BYTES / 1e9:.0f} GB of free space")
    if psutil.virtual_memory().available < MEMORY_BYTES:
        raise NoEngine(f"less than {MEMORY_BYTES / 1e9:.0f} GB of memory are free")


def require_base_image(engine: Engine) -> None:
    """Pull the base image, or make it by debootstrap where none is reached. Raises NoEngine."""
    if engine.image_id(BASE_IMAGE):
        return
    if engine.run("pull", BASE_IMAGE, check=False, timeout_seconds=BASE_SECONDS).returncode == 0:
        return
    if shutil.which("debootstrap") is None or os.getuid() != 0:
        raise NoEngine(f"{BASE_IMAGE} cannot be pulled, nor made: debootstrap is missing")
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "root.tar"
        try:
            _make_base(Path(directory) / "root", archive)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoEngine(f"{BASE_IMAGE} cannot be pulled, nor made: {error}") from None
        _require(engine, "no image can be imported", "import", str(archive), BASE_IMAGE)


def _make_base(root: Path, archive: Path) -> None:
    subprocess.run(
        ["debootstrap", "--variant=minbase", "bookworm", str(root)],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=BASE_SECONDS,
    )
    for name in _NOT_IN_SLIM:
        for path in (root / name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)


def _require(engine: Engine, failure: str, *arguments: str) -> str:
    """Return what the engine prints; raises NoEngine with its last line if it fails."""
    done = engine.run(*arguments, check=False)
    if done.returncode != 0:
        reason = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise NoEngine(f"{engine.command} is here, but {failure}: {reason}")
    return done.stdout.strip()


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
