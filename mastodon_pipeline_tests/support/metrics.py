"""Reads metrics as Prometheus would, without one and with one."""

import json
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from infra.native_stack import Ports
from infra.native_stack.probes import http_ok
from mastodon_pipeline.metrics.collecting import PREFIX
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline_tests.support.waiting import wait_until

PROMETHEUS = shutil.which("prometheus")

Samples = dict[str, dict[tuple[str, ...], float]]
"""By the metric's name without the prefix: values by those of the labels, sorted by label."""


def scrape(url: str) -> Samples:
    """Return what the metrics at an address are now."""
    samples: Samples = defaultdict(dict)
    answer = httpx.get(url, timeout=300).raise_for_status()
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            name = sample.name.removeprefix(f"{PREFIX}_")
            samples[name][tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return samples


def grafana_queries() -> dict[str, str]:
    """Return the queries of Grafana's dashboard by panel and letter."""
    dashboard = json.loads((REPOSITORY / "infra/grafana/dashboard.json").read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }


@contextmanager
def prometheus(target: str, directory: Path) -> Iterator[Callable[[str], int]]:
    """Run a Prometheus that scrapes a target (host:port) each second.

    It gives what returns the number of series that a query has.
    """
    assert PROMETHEUS
    config = directory / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: pipeline, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    address = f"127.0.0.1:{Ports.free().kafka_port}"
    command = (
        *(PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"),
        f"--web.listen-address={address}",
    )

    def series(query: str) -> int:
        answer = httpx.get(f"http://{address}/api/v1/query", params={"query": query}, timeout=300)
        return len(answer.raise_for_status().json()["data"]["result"])

    with (directory / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(http_ok(f"http://{address}/-/ready"), "Prometheus is ready")
        yield series
    finally:
        process.terminate()
        process.wait(900)
