"""The listener's limit of open files, on systems that grant less than they name."""

import resource

import pytest

from mastodon_pipeline.listening.following.listener import allow_many_connections

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "granted_up_to", "after"),
    [
        ((256, UNLIMITED), 10_240, 10_240),  # macOS
        ((1024, UNLIMITED), 524_288, 65_536),
        ((1024, 4096), 4096, 4096),
        ((1024, 4096), 0, 1024),
        ((4096, 4096), 4096, 4096),
        ((UNLIMITED, UNLIMITED), 10_240, UNLIMITED),
        ((20_000, UNLIMITED), 10_240, 20_000),
    ],
)
def test_the_highest_granted_limit_of_open_files_is_taken(
    before: tuple[int, int], granted_up_to: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a lower one than there was, and no refusal ends the listener."""
    limits = before

    def setrlimit(_: int, wanted: tuple[int, int]) -> None:
        nonlocal limits
        if wanted[0] == UNLIMITED or wanted[0] > granted_up_to:
            raise ValueError("current limit exceeds maximum limit")
        limits = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    allow_many_connections()
    assert limits == (after, before[1])
