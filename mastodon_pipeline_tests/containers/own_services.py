"""The containers beside a Kafka and an object store that are not of their project."""

import contextlib
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.native_stack.fetch import INFRA
from mastodon_pipeline_tests.containers.engine import Engine, build_image
from mastodon_pipeline_tests.containers.trial import SERVICES, System

FILES = (INFRA / "own-kafka.yml", INFRA / "own-object-store.yml")
OWN = {"kafka": ("own-kafka", "kafka"), "minio": ("own-minio",)}
"""The names of each: a broker is also reached by the name that it tells its clients."""
SETTINGS = """\
MASTODON_POLL_INTERVAL_SECONDS=1
KAFKA_BOOTSTRAP_SERVERS=own-kafka:9092
S3_ENDPOINT=http://own-minio:9000
"""


def run_own_services_trial(
    engine: Engine, image: str, say: Callable[[str], object] = print
) -> None:
    """Compare counts where Kafka and object store are one's own; raises AssertionError."""
    build_image(engine, image)
    keys = {
        "AWS_ACCESS_KEY_ID": "my-own",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
    }
    with tempfile.TemporaryDirectory() as directory:
        settings = Path(directory) / "settings.env"
        lines = (f"{name}={value}\n" for name, value in keys.items())
        settings.write_text(SETTINGS + "".join(lines))
        services = [service for service in SERVICES if service not in OWN]
        system = System(engine, image, settings, services, FILES)
        try:
            system.create()
            with _own_services(engine, image, system.network, keys):
                system.await_healthy()
                say(system.compare())
        finally:
            system.remove()


@contextlib.contextmanager
def _own_services(engine: Engine, image: str, network: str, keys: dict[str, str]) -> Iterator[None]:
    """Run them as containers in the network of the system, deleted with their data."""
    names = [f"{network}-{service}" for service in OWN]
    variables = [f"--env={name}={value}" for name, value in keys.items()]
    try:
        for name, (service, aliases) in zip(names, OWN.items(), strict=True):
            options = (f"--network-alias={alias}" for alias in aliases)
            engine.run(
                *("run", "--detach", f"--name={name}", f"--network={network}"),
                *(*options, *variables, image, service),
            )
        yield
    finally:
        engine.run("rm", "--force", "--volumes", *names, check=False)
