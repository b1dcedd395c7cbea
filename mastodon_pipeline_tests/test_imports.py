"""The import contracts of pyproject.toml: they hold, and a forbidden import breaks them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mastodon_pipeline.paths import REPOSITORY

PACKAGES = ("mastodon_pipeline", "infra", "benchmarks", "mastodon_pipeline_tests")
FORBIDDEN = [
    ("mastodon_pipeline/lake/layout.py", "mastodon_pipeline.usage.views"),
    ("mastodon_pipeline/listening/records/record.py", "mastodon_pipeline.landing.landed_index"),
    ("mastodon_pipeline/landing/landed_index.py", "mastodon_pipeline.cli.main"),
    (
        "mastodon_pipeline/listening/records/sink.py",
        "mastodon_pipeline.listening.topic.encoding",
    ),
    (
        "mastodon_pipeline/listening/following/gaps.py",
        "mastodon_pipeline.listening.topic.encoding",
    ),
    ("mastodon_pipeline/listening/following/gaps.py", "dagster"),
    ("mastodon_pipeline/listening/client/session.py", "mastodon_pipeline.listening.records"),
    ("mastodon_pipeline/kafka.py", "mastodon_pipeline.lake.layout"),
    ("mastodon_pipeline/listening/protocol/sse.py", "socket"),
    ("mastodon_pipeline/listening/protocol/text.py", "dagster"),
    ("mastodon_pipeline/usage/checks/days.py", "mastodon_pipeline.usage.tables.daily"),
    ("mastodon_pipeline/usage/tables/daily.py", "dagster"),
    ("mastodon_pipeline/maintenance/lock.py", "mastodon_pipeline.alerting.rules"),
    ("mastodon_pipeline/alerting/rules.py", "dagster"),
    ("mastodon_pipeline/errors.py", "infra.native_stack"),
    ("infra/demo.py", "mastodon_pipeline_tests.support.waiting"),
    ("infra/simulator/truth.py", "mastodon_pipeline.settings"),
]
"""By module: what it must not import."""


def lint_imports(root: Path) -> "subprocess.CompletedProcess[str]":
    """Check the packages in `root` against the contracts of its pyproject.toml."""
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code, to plant imports in."""
    for package in PACKAGES:
        shutil.copytree(
            REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.thorough
def test_code_keeps_its_import_contracts() -> None:
    result = lint_imports(REPOSITORY)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.thorough
def test_each_forbidden_import_breaks_a_contract(checkout: Path) -> None:
    """All are planted at once; one that is forbidden is a chain of a single link in the report."""
    for module, planted in FORBIDDEN:
        with (checkout / module).open("a") as file:
            file.write(f"\nimport {planted}\n")

    result = lint_imports(checkout)

    assert result.returncode == 1, result.stdout + result.stderr
    single_links = re.findall(r"^- +(\S+) -> (\S+) \(l\.\d+\)\n\n", result.stdout, re.MULTILINE)
    imports = [(module.removesuffix(".py").replace("/", "."), name) for module, name in FORBIDDEN]
    assert [planted for planted in imports if planted not in single_links] == []


@pytest.mark.thorough
def test_new_package_must_be_given_a_layer(checkout: Path) -> None:
    (checkout / "mastodon_pipeline" / "utils.py").write_text('"""A module without a layer."""\n')

    result = lint_imports(checkout)

    assert result.returncode == 1
    assert "utils" in result.stdout
