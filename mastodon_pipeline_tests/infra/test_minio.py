"""How MinIO's build reports its progress."""

from pathlib import Path

from infra.native_stack.minio import PACKAGES, BuildProgress


def test_build_shows_packages_and_the_time_that_is_left(tmp_path: Path) -> None:
    """By the rate since the first packages; nothing is estimated from a few of them."""
    log, now = tmp_path / "minio-build.log", [0.0]
    progress = BuildProgress(log, lambda: now[0])

    def report(seconds: float, packages: int) -> str:
        now[0] = seconds
        names = "".join(f"example.org/package{number}\n" for number in range(packages))
        log.write_text(f"go: downloading example.org v1.0.0\n{names}")
        return progress()

    assert progress() == "downloading the source"
    assert report(5, 0) == "downloading the source"
    assert report(10, 12) == f"12 of {PACKAGES:,} packages compiled"
    assert report(20, 60) == f"60 of {PACKAGES:,} packages compiled"
    assert report(60, 512) == f"512 of {PACKAGES:,} packages compiled, about 90 s left"
    assert report(150, PACKAGES) == f"{PACKAGES:,} of {PACKAGES:,} packages compiled, linking"
