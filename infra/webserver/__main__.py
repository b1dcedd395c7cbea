"""`python -m infra.webserver`: dagster-webserver with the same options, guarded and current."""

import os
from typing import Any

from dagster_webserver import cli
from starlette.applications import Starlette

from infra.webserver.guard import OriginGuard
from infra.webserver.partition_keys import answer_texts_at_once, remember_partition_keys
from infra.webserver.partitions import keep_partitions_current


def main() -> None:
    """Run dagster-webserver with the guard as the outermost layer of its application.

    Raises AttributeError, and starts nothing, if Dagster builds its application elsewhere.
    """
    build = cli.create_app_from_workspace_process_context  # type: ignore[attr-defined]
    hosts = os.environ.get("DAGSTER_ALLOWED_HOSTS", "").replace(",", " ").split()

    def build_guarded(workspace: Any, *arguments: Any, **options: Any) -> Starlette:
        app: Starlette = build(workspace, *arguments, **options)
        app.add_middleware(OriginGuard, allowed_hosts=hosts)
        keep_partitions_current(workspace)
        return app

    remember_partition_keys()
    answer_texts_at_once()
    cli.create_app_from_workspace_process_context = build_guarded  # type: ignore[attr-defined, assignment]
    cli.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
