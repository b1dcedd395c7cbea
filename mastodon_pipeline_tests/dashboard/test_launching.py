import sys

import pytest
from click.testing import CliRunner
from streamlit import config

from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.dashboard.launching import options


def test_every_option_is_one_of_streamlit() -> None:
    known = set(config._config_options_template)
    assert options(8501).keys() <= known


def test_page_is_for_this_machine_and_reports_to_nobody() -> None:
    chosen = options(8501)
    assert chosen["server.address"] == "127.0.0.1"
    assert options(8501, "0.0.0.0")["server.allowedHosts"] == chosen["server.allowedHosts"]
    assert chosen["server.enableXsrfProtection"]
    assert chosen["server.enableCORS"]
    assert chosen["server.headless"]
    assert chosen["server.fileWatcherType"] == "none"
    assert chosen["browser.gatherUsageStats"] is False


def test_command_without_streamlit_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    result = CliRunner().invoke(cli, ["dashboard"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "make install" in result.stderr
