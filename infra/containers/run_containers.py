"""Dagster's runs as containers of their own, where `runs-in-containers.yml` asks for it.

What a run needs are the image, the network and the volume of the containers that launch it, and
their settings. These are named in `dagster.yaml` and read from the launcher's environment, so no
further file holds a password.
"""

import os
from collections.abc import Mapping
from typing import Any

IMAGE, NETWORK, VOLUME = "DAGSTER_RUN_IMAGE", "DAGSTER_RUN_NETWORK", "DAGSTER_RUN_VOLUME"
_ITS_OWN = frozenset(["HOME", "HOSTNAME", "container", "DOCKER_HOST", IMAGE, NETWORK, VOLUME])
"""Variables that describe the launcher's container, or give it the engine."""
STOP_SECONDS = 60
"""A listener that is stopped sends what it has read; then it is killed."""


def run_launcher(
    variables: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> dict[str, Any] | None:
    """Return `run_launcher` of Dagster's configuration; None if runs are the code server's.

    `variables`: those of the program that launches runs.
    """
    if not (image := environment.get(IMAGE)):
        return None
    return {
        "module": "dagster_docker",
        "class": "DockerRunLauncher",
        "config": {
            "image": image,
            "networks": [environment[NETWORK]],
            "env_vars": sorted(variables.keys() - _ITS_OWN),
            "container_kwargs": {
                "volumes": [f"{environment[VOLUME]}:/data"],
                "entrypoint": ["tini", "-g", "--"],
                # Dagster asks the engine whether a run's container is there. The image's check is
                # of the roles' programs.
                "healthcheck": {"test": ["NONE"]},
                "auto_remove": True,
                "stop_timeout": STOP_SECONDS,
            },
        },
    }
