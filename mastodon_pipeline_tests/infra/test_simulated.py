"""A demo's simulated toots never stand beside real ones."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.demo import prepare_data, refuse_own_servers
from infra.launching import Launch, launch
from infra.native_stack import Stack, StackError
from infra.native_stack.__main__ import cli
from infra.native_stack.ports import Ports
from infra.native_stack.simulated import SIMULATED_MARK, is_simulated


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(tmp_path / "data", Ports.free(), tmp_path / "cache")


def test_demo_refuses_a_directory_with_real_toots(stack: Stack) -> None:
    """Nothing in it is touched, and the line names two ways out. Shows G21."""
    stack.data.mkdir()
    (stack.data / "stack.env").touch()

    with pytest.raises(StackError, match=r"real toots.*make clean.*MASTODON_PIPELINE_DATA"):
        prepare_data(stack)

    assert [path.name for path in stack.data.iterdir()] == ["stack.env"]
    assert not is_simulated(stack.data)


@pytest.mark.parametrize("name", ["MASTODON_SERVERS", "MASTODON_SERVERS_FILE"])
def test_demo_refuses_an_env_file_that_names_servers(name: str, tmp_path: Path) -> None:
    """Dagster reads it by itself, and would listen to these."""
    (tmp_path / ".env").write_text(f"{name}=https://social.example\n")
    with pytest.raises(StackError, match=f"{name}, .*mv .env .env.mine"):
        refuse_own_servers(tmp_path)


def test_demo_takes_an_env_file_without_servers(tmp_path: Path) -> None:
    refuse_own_servers(tmp_path)
    (tmp_path / ".env").write_text("MASTODON_CONTACT=me@example.org\n")
    refuse_own_servers(tmp_path)


def test_demo_marks_its_directory_and_wipes_what_an_earlier_one_left(stack: Stack) -> None:
    """Toots of an earlier demo would be counted again."""
    prepare_data(stack)
    (stack.data / "minio").mkdir()

    prepare_data(stack)

    assert [path.name for path in stack.data.iterdir()] == [SIMULATED_MARK]


def test_up_for_real_servers_refuses_a_demo_directory(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows G21."""
    prepare_data(stack)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(stack.data))

    refusal = CliRunner().invoke(cli, ["up", "--with-dagster"]).exception

    assert isinstance(refusal, StackError)
    assert "make clean" in str(refusal)


def test_demo_whose_dagster_does_not_answer_names_the_job(stack: Stack) -> None:
    """In one line: by then the numbers agree."""
    with pytest.raises(StackError, match=r"^Dagster does not launch landed_toots_check: "):
        launch(stack.addresses.dagster_url, Launch("landed_toots_check"))
