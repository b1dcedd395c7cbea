"""The pipeline's own programs: Dagster, the dashboard, and the metrics if they are wanted."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.native_stack.addresses import write_private
from infra.native_stack.fetch import INFRA
from infra.native_stack.ports import LOOPBACK
from infra.native_stack.program import Program
from infra.native_stack.programs import Installation
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, postgres_url
from mastodon_pipeline.paths import BASE_DIRECTORY

RunLauncher = Mapping[str, Any]
_NOT_INHERITED = frozenset(
    [
        # They describe the terminal, not the program: a change is no reason for a restart.
        *("_", "SHLVL", "PWD", "OLDPWD", "TERM", "COLORTERM", "WINDOWID", "COLUMNS", "LINES"),
        *("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKE_TERMERR", "MAKE_TERMOUT"),
        *("PYTEST_CURRENT_TEST", "PYTEST_VERSION"),
        # Without bytecode each run would compile the 2,500 modules that it imports: 1.5 s of CPU.
        "PYTHONDONTWRITEBYTECODE",
    ]
)


_WORKSPACE = """\
# The definitions that Dagster's webserver and daemon ask their code server for.
load_from:
  - grpc_server:
      host: {host}
      port: {port}
      location_name: mastodon_pipeline
"""


def dagster_programs(
    stack: Installation,
    environment: Mapping[str, str],
    depends_on: tuple[str, ...],
    launcher: Callable[[Mapping[str, str]], RunLauncher | None] = lambda _variables: None,
) -> list[Program]:
    """Return Dagster's code server, webserver and daemon, so that each survives the others.

    One code server for both: each would start its own, of 370 MB. It also is the parent of the
    runs, so the listeners go on while the others start again.

    `environment` is the stack's; it overrides the caller's environment (servers, tokens).
    `launcher` returns `run_launcher` of `dagster.yaml`, given their variables, if it is another
    than the code server.
    """
    home = stack.data / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    variables = {**_inherited(), **environment, "DAGSTER_HOME": str(home)}
    if postgres := postgres_url():
        variables[POSTGRES_VARIABLE] = postgres
    configuration = instance_configuration(bool(postgres), launcher(variables))
    write_private(home / "dagster.yaml", configuration)
    # Dagster and the code servers it starts look for their commands on PATH.
    programs = Path(sys.executable).parent
    variables["PATH"] = f"{programs}{os.pathsep}{variables.get('PATH', os.defpath)}"
    port, url = stack.ports.dagster_port, stack.addresses.dagster_url
    code_server_port = stack.ports.dagster_code_server_port
    workspace_file = home / "workspace.yaml"
    workspace = _WORKSPACE.format(host=stack.hosts.code_server, port=code_server_port)
    write_private(workspace_file, workspace)
    workspace_option = ("-w", str(workspace_file))
    code_server = Program(
        name="dagster-code-server",
        command=(
            *(sys.executable, "-m", "dagster", "api", "grpc"),
            *("-m", "mastodon_pipeline.definitions", "--location-name", "mastodon_pipeline"),
            *("-h", stack.hosts.listen, "-p", str(code_server_port)),
        ),
        ready=stack.probe("dagster-code-server"),
        directory=BASE_DIRECTORY,
        environment=variables,
        config_files=(home / "dagster.yaml",),
        ports=(code_server_port,),
        # It and the webserver ask the services for nothing, so they start beside them.
        # Its runs get the signal too: listeners flush their records before they end.
        stop_seconds=60,
    )
    webserver = Program(
        name="dagster-webserver",
        command=(
            *(sys.executable, "-m", "infra.webserver"),
            *("-h", stack.hosts.listen, "-p", str(port)),
            *workspace_option,
        ),
        ready=stack.probe("dagster-webserver"),
        directory=BASE_DIRECTORY,
        environment=variables,
        config_files=(home / "dagster.yaml", workspace_file),
        address=url,
        ports=(port,),
        # All three create Dagster's tables in a new home, and started at once one would fail.
        depends_on=(code_server.name,),
        stop_seconds=30,
    )
    daemon = Program(
        name="dagster-daemon",
        command=(str(programs / "dagster-daemon"), "run", *workspace_option),
        ready=stack.probe("dagster-daemon"),
        directory=BASE_DIRECTORY,
        environment=variables,
        config_files=(home / "dagster.yaml", workspace_file),
        depends_on=(*depends_on, webserver.name),
        stop_seconds=30,
    )
    return [code_server, webserver, daemon]


def instance_configuration(postgres: bool, launcher: RunLauncher | None = None) -> str:
    """Return Dagster's `dagster.yaml`, with its storage in SQLite files or in PostgreSQL.

    `launcher`: who launches runs, if that is not the code server.
    """
    text = (INFRA / "dagster" / "dagster.yaml").read_text()
    if not postgres and launcher is None:
        return text
    configuration = yaml.safe_load(text)
    if postgres:
        for name in ("run_storage", "schedule_storage", "event_log_storage"):
            del configuration[name]
        configuration["storage"] = {"postgres": {"postgres_url": {"env": POSTGRES_VARIABLE}}}
    if launcher is not None:
        configuration["run_launcher"] = dict(launcher)
    return yaml.safe_dump(configuration)


def dashboard_program(stack: Installation, environment: Mapping[str, str]) -> Program:
    """Return the page that shows the tables, with keys of the object store that only read.

    `environment`: as that of Dagster's programs.
    """
    port = stack.ports.dashboard_port
    keys = {
        name: reader
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        # A store of one's own may have no such user.
        if (reader := stack.variables[f"DASHBOARD_{name.removeprefix('AWS_')}"])
    }
    return Program(
        name="dashboard",
        command=(
            str(Path(sys.executable).with_name("mastodon-pipeline")),
            *("dashboard", "--port", str(port), "--address", stack.hosts.listen),
        ),
        ready=stack.probe("dashboard"),
        directory=BASE_DIRECTORY,
        environment={**_inherited(), **environment, **keys},
        address=stack.addresses.dashboard_url,
        ports=(port,),
        # It needs MinIO alone, and says what is missing. Until Dagster listens, the processor's
        # time is for that.
        depends_on=("minio", "dagster-daemon"),
    )


def metrics_program(stack: Installation, environment: Mapping[str, str]) -> Program:
    """Return what Prometheus scrapes. `environment`: as that of Dagster's programs."""
    port = stack.ports.metrics_port
    return Program(
        name="metrics",
        command=(
            str(Path(sys.executable).with_name("mastodon-pipeline")),
            *("metrics", "--port", str(port), "--address", stack.hosts.listen),
        ),
        ready=stack.probe("metrics"),
        directory=BASE_DIRECTORY,
        environment={**_inherited(), **environment},
        address=f"http://{LOOPBACK}:{port}/metrics",
        ports=(port,),
        # The webserver makes Dagster's tables in a new home.
        depends_on=("dagster-webserver",),
    )


def _inherited() -> dict[str, str]:
    """Return what programs take over of the caller's environment: servers, tokens, settings."""
    return {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
