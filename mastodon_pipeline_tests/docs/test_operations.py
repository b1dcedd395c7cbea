"""The runbook has an entry for everything that can turn red, and for every setting."""

import re
from dataclasses import fields

import dagster as dg

from infra.native_stack.ports import Ports
from mastodon_pipeline.cli import health_checks
from mastodon_pipeline.definitions import defs
from mastodon_pipeline.landing.health import SinkState
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.docs.pages import DOCS, headings, section

OPERATIONS = DOCS / "operations.md"


def _first_cells(heading: str) -> list[str]:
    """Return the code in the first cells of the tables below a heading."""
    rows = re.findall(r"^\| ([^|]+) \|", section(OPERATIONS, heading), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_setting_is_documented_with_its_default() -> None:
    documented = set(_first_cells("Settings"))
    settings = {name.upper() for name in Settings.model_fields}
    assert settings <= documented, f"undocumented: {sorted(settings - documented)}"
    elsewhere = set(_first_cells("Not of the pipeline itself")) | {"MASTODON_TOKEN_<HOST>"}
    assert documented - elsewhere == settings, "these settings are no more"


def test_defaults_in_the_settings_tables_are_those_of_the_code() -> None:
    text = section(OPERATIONS, "Settings")
    rows = dict(re.findall(r"^\| `([A-Z_0-9]+)` \| ([^|]*)\|", text, re.MULTILINE))
    wrong = {}
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False)
        plain = default is not None and field.default_factory is None and default != ()
        written = ",".join(default) if isinstance(default, tuple) else str(default)
        if isinstance(default, bool):
            written = written.lower()
        if isinstance(default, float):
            written = f"{default:g}"
        if plain and rows[name.upper()].strip() != written:
            wrong[name] = (rows[name.upper()].strip(), written)
    assert not wrong


def test_every_port_is_documented_with_its_default() -> None:
    text = section(OPERATIONS, "Ports")
    for field in fields(Ports):
        assert f"| `{field.name.upper()}` | {field.default} |" in text


def test_every_asset_check_has_an_entry() -> None:
    checks = {key.name for key in defs.resolve_asset_graph().asset_check_keys}
    entries = _entries("Asset checks")
    assert checks == entries, f"no entry: {checks - entries}; no such check: {entries - checks}"


def test_every_sensor_has_an_entry() -> None:
    assert {sensor.name for sensor in _repository().sensor_defs} == _entries("Sensors")


def test_every_schedule_and_its_job_are_listed() -> None:
    text = section(OPERATIONS, "Schedules and jobs")
    for schedule in _repository().schedule_defs:
        assert re.search(rf"^\| `{schedule.name}` \|.*`{schedule.job_name}`", text, re.MULTILINE)
    for job in _repository().get_all_jobs():
        assert job.name.startswith("__") or f"`{job.name}`" in text


def test_every_part_that_doctor_examines_has_an_entry() -> None:
    assert set(_first_cells("doctor")) == {"settings", *dict(health_checks._CHECKS)}


def test_every_state_of_the_sink_has_an_entry() -> None:
    text = section(OPERATIONS, "connector_supervisor")
    for state in SinkState:
        assert re.search(rf"^\| (\w[\w ]*, )?{state}(, \w+)* \|", text, re.MULTILINE), state


def _entries(heading: str) -> set[str]:
    text = section(OPERATIONS, heading)
    return {name for name in headings(OPERATIONS, 3) if f"\n### {name}\n" in text}


def _repository() -> dg.RepositoryDefinition:
    return defs.get_repository_def()
