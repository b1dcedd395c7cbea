"""Runs as containers of their own: what Dagster is told of them."""

from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance
from dagster_docker import DockerRunLauncher

from infra.containers.run_containers import IMAGE, NETWORK, VOLUME, run_launcher
from infra.native_stack.fetch import INFRA
from infra.native_stack.pipeline_programs import instance_configuration

ENVIRONMENT = {IMAGE: "mastodon-pipeline:1", NETWORK: "demo_default", VOLUME: "demo_data"}
VARIABLES = {"MASTODON_TOKEN_ONE_EXAMPLE": "a-secret", "HOSTNAME": "1234", "DOCKER_HOST": "unix:"}


def test_runs_are_the_code_servers_unless_an_image_is_named() -> None:
    assert run_launcher(VARIABLES, {}) is None
    assert "run_launcher" not in yaml.safe_load(instance_configuration(postgres=False))


@pytest.mark.parametrize("postgres", [False, True])
def test_run_gets_image_network_volume_and_settings_by_name(postgres: bool) -> None:
    """Neither secrets, nor the engine's socket, nor what describes the launcher's container."""
    text = instance_configuration(postgres, run_launcher(VARIABLES, ENVIRONMENT))
    config = yaml.safe_load(text)["run_launcher"]["config"]

    assert config["image"] == "mastodon-pipeline:1"
    assert config["networks"] == ["demo_default"]
    assert config["container_kwargs"]["volumes"] == ["demo_data:/data"]
    assert config["env_vars"] == ["MASTODON_TOKEN_ONE_EXAMPLE"]
    assert "a-secret" not in text


def test_dagster_accepts_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    text = instance_configuration(False, run_launcher(VARIABLES, ENVIRONMENT))
    (tmp_path / "dagster.yaml").write_text(text)
    with DagsterInstance.get() as instance:
        launcher = instance.run_launcher

    assert isinstance(launcher, DockerRunLauncher)
    assert launcher.supports_check_run_worker_health


def test_compose_file_gives_dagster_alone_the_engine() -> None:
    """By names that Compose derives from the project's."""
    services = yaml.safe_load((INFRA / "runs-in-containers.yml").read_text())["services"]

    assert services.keys() == {"code-server", "webserver", "daemon"}
    for service in services.values():
        assert service["environment"].keys() >= {IMAGE, NETWORK, VOLUME, "DOCKER_HOST"}
