"""`mastodon-pipeline alerts test` against real receivers."""

import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.main import cli
from mastodon_pipeline_tests.support.receiving import webhook

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_test_message_goes_to_each_url_and_the_report_names_what_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 1 if one failed; URLs are secrets, so it shows their places."""
    with webhook() as working, webhook() as refusing:
        refusing.status = 403
        first = f"json://me:a-secret@{working.address}/hook"
        second = f"json://{refusing.address}/a-secret"
        monkeypatch.setenv("ALERT_URLS", f"{first}, {second}")
        result = CliRunner().invoke(cli, ["alerts", "test"])
        assert result.exit_code == 1
        assert result.stdout.splitlines() == [
            "ok  1 JSON               sent",
            "!!  2 JSON               it answered with HTTP 403",
        ]
        assert "1 of 2 did not work" in result.stderr
        assert "a-secret" not in result.output
        assert working.titles == ["a test message"]

        monkeypatch.setenv("ALERT_URLS", first)
        assert CliRunner().invoke(cli, ["alerts", "test"]).exit_code == 0


def test_without_urls_it_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URLS", "")
    result = CliRunner().invoke(cli, ["alerts", "test"])
    assert result.exit_code == 2
    assert "ALERT_URLS is not set" in result.stderr
