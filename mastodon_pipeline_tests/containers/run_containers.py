"""The containers where each of Dagster's runs is one, too, started over the engine's socket."""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.native_stack.fetch import INFRA
from mastodon_pipeline.listening.supervising.runs import JOB_NAME
from mastodon_pipeline_tests.containers.engine import Engine, build_image
from mastodon_pipeline_tests.containers.trial import LIVE_TOOTS_PER_SECOND, System
from mastodon_pipeline_tests.support.waiting import wait_until

FILE = INFRA / "runs-in-containers.yml"
DOCKERS_SOCKET = Path("/var/run/docker.sock")


def run_runs_trial(engine: Engine, image: str, say: Callable[[str], object] = print) -> None:
    """Kill the code server and a listener's container; raises AssertionError if a toot is lost."""
    build_image(engine, image)
    with tempfile.TemporaryDirectory() as directory, engine_socket(engine) as socket:
        settings = Path(directory) / "settings.env"
        settings.write_text("MASTODON_POLL_INTERVAL_SECONDS=1\n")
        variables = {
            "CONTAINER_SOCKET": str(socket),
            "CONTAINER_SOCKET_GROUP": str(socket.stat().st_gid),
        }
        system = System(engine, image, settings, more_files=[FILE], variables=variables)
        try:
            system.up()
            say(system.compare())
            [listener] = listeners(engine, system)
            system.publish(LIVE_TOOTS_PER_SECOND)
            system.kill("code-server")
            system.await_healthy()
            assert listeners(engine, system) == [listener], "a run ended with the code server"
            began = time.monotonic()
            engine.run("kill", listener)
            wait_until(lambda: set(listeners(engine, system)) - {listener}, "another listener")
            say(f"a listener's container killed: another after {time.monotonic() - began:.0f} s")
            system.publish(0)
            say(system.compare())
            say(f"published {system.published():,}, each counted once")
        finally:
            delete_runs(engine, system)
            system.remove()


@contextlib.contextmanager
def engine_socket(engine: Engine) -> Iterator[Path]:
    """Return where the engine answers to Docker's API: Podman does while it is asked to."""
    if not engine.is_podman:
        yield DOCKERS_SOCKET
        return
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "engine.sock"
        command = (engine.command, "system", "service", "--time=0", f"unix://{socket}")
        with subprocess.Popen(command, env={**os.environ, **engine.environment}) as service:
            try:
                wait_until(socket.exists, "the engine's socket")
                os.chmod(directory, 0o755)
                socket.chmod(0o660)  # as Docker's
                yield socket
            finally:
                service.terminate()


def listeners(engine: Engine, system: System) -> list[str]:
    """Return the ids of the containers in which listeners run."""
    return _runs(engine, system, f"--filter=label=dagster/job_name={JOB_NAME}")


def delete_runs(engine: Engine, system: System) -> None:
    """Delete the containers of runs, which are not the Compose file's."""
    if runs := _runs(engine, system, "--all"):
        engine.run("rm", "--force", *runs, check=False)


def _runs(engine: Engine, system: System, *options: str) -> list[str]:
    filters = (f"--filter=network={system.network}", "--filter=label=dagster/run_id")
    return engine.run("ps", "--quiet", *filters, *options).stdout.split()
