"""What the tests of leaked secrets search with."""

import base64
from pathlib import Path

import pytest

from mastodon_pipeline_tests.support.secret_search import shown_in, stack_secrets, stored_contents

SECRETS = {"A_PASSWORD": "sesame-1", "B_SECRET_ACCESS_KEY": "sesame-2"}


def test_secrets_are_found_where_they_may_not_be(tmp_path: Path) -> None:
    """As they are, and in a header; in a private file only if others may read it."""
    (tmp_path / "programs").mkdir()
    (tmp_path / "stack.env").write_text("A_PASSWORD=sesame-1\nB_SECRET_ACCESS_KEY=sesame-2\nC=3\n")
    for name, mode in (("stack.env", 0o600), ("programs/a.sh", 0o700), ("programs/b.sh", 0o755)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "programs/b.sh").write_text("export A_PASSWORD=sesame-1")
    (tmp_path / "log").write_bytes(b"Basic " + base64.b64encode(b"pipeline:sesame-2"))
    (tmp_path / "other").write_text("sesame")

    assert stack_secrets(tmp_path) == SECRETS
    places = {place: shown_in(content, SECRETS) for place, content in stored_contents(tmp_path)}
    assert places == {
        "programs/b.sh": {"A_PASSWORD"},
        "log": {"B_SECRET_ACCESS_KEY"},
        "other": set(),
    }


@pytest.mark.parametrize(
    "place", ["config/iam/users/reader/identity.json/xl.meta", "tmp/.trash/440c2f20/xl.meta.bkp"]
)
def test_minio_keeps_its_users_in_a_directory_of_the_owner(place: str, tmp_path: Path) -> None:
    user = tmp_path / "minio/.minio.sys" / place
    user.parent.mkdir(parents=True)
    user.write_text("sesame-1")
    (tmp_path / "minio").chmod(0o755)
    assert [place for place, _ in stored_contents(tmp_path)] == [
        user.relative_to(tmp_path).as_posix()
    ]
    (tmp_path / "minio").chmod(0o700)
    assert [*stored_contents(tmp_path)] == []
