"""What is copied into the image beside Python."""

import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from infra.containers import assemble
from infra.native_stack.cache import is_complete, store
from infra.native_stack.errors import StackError
from infra.native_stack.fetch import POMS, find_artifacts
from infra.native_stack.maven import jars_directory
from infra.native_stack.minio import minio_directory

LIBRARIES = {
    "org/sqlite/native/Linux/x86_64/libsqlitejdbc.so": True,
    "linux/aarch64/libzstd.so": True,
    "lib/linux-x86_64/libbrotli.so": True,
    "org/sqlite/native/Linux-Musl/x86_64/libsqlitejdbc.so": False,
    "org/sqlite/native/Linux/ppc64/libsqlitejdbc.so": False,
    "org/sqlite/native/Windows/x86_64/sqlitejdbc.dll": False,
    "darwin/aarch64/libzstd.dylib": False,
}
"""Whether each stays."""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the native stack, as `fetch` leaves it, with jars in directories."""
    cache = tmp_path / "cache"
    for pom in POMS:
        store(jars_directory(cache, pom), lambda partial: _write_jar(partial / "jars" / "a.jar"))
    store(minio_directory(cache), lambda partial: _write(partial / "minio"))
    return cache


def _write(path: Path) -> None:
    path.write_bytes(b"program")
    path.chmod(0o755)


def _write_jar(path: Path, names: Iterable[str] = (*LIBRARIES, "org/sqlite/JDBC.class")) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as jar:
        for name in ("META-INF/MANIFEST.MF", *names):
            jar.writestr(name, name * 50)


def _names(jar: Path) -> list[str]:
    with zipfile.ZipFile(jar) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_first_whole_cache_is_copied_with_its_times(cache: Path, tmp_path: Path) -> None:
    """Times count: a layer with another one would be stored and sent again."""
    target = tmp_path / "target"
    assemble.assemble(target, [tmp_path / "empty", cache])

    assert find_artifacts(target) is not None
    for directory in target.iterdir():
        assert is_complete(directory)
        for path in directory.rglob("*"):
            original = cache / path.relative_to(target)
            assert path.stat().st_mtime_ns == original.stat().st_mtime_ns
            assert path.stat().st_mode == original.stat().st_mode


def test_jars_lose_libraries_for_other_systems_alone(cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assemble.assemble(target, [cache])
    names = _names(next(target.rglob("a.jar")))

    assert names[0] == "META-INF/MANIFEST.MF"
    assert {name: name in names for name in LIBRARIES} == LIBRARIES
    assert "org/sqlite/JDBC.class" in names


@pytest.mark.parametrize("name", assemble.UNUSED_IN_REGISTRY)
def test_unused_jar_of_the_registry_stays_and_is_empty(name: str, tmp_path: Path) -> None:
    """The registry opens its jars by their names; of other versions, too."""
    jar = tmp_path / f"{name}-7.8.1.202607240634-r.jar"
    _write_jar(jar, ["META-INF/services/a.Provider", "a/A.class"])
    assemble.shrink(jar)

    assert _names(jar) == ["META-INF/MANIFEST.MF"]


def test_icu_loses_the_data_of_languages_alone(tmp_path: Path) -> None:
    jar = tmp_path / "com.ibm.icu.icu4j-79.1.jar"
    _write_jar(jar, ["com/ibm/icu/impl/data/icudata/de.res", "com/ibm/icu/impl/ICUDebug.class"])
    assemble.shrink(jar)

    assert _names(jar) == ["META-INF/MANIFEST.MF", "com/ibm/icu/impl/ICUDebug.class"]


@pytest.mark.parametrize("name", ["a", "com.google.protobuf.protobuf-java-4.36.1"])
def test_jar_that_is_used_stays_as_it_is(name: str, tmp_path: Path) -> None:
    jar = tmp_path / f"{name}.jar"
    _write_jar(jar, ["A.class"])
    before = jar.stat()
    assemble.shrink(jar)

    assert jar.stat().st_ino == before.st_ino


def test_everything_is_fetched_where_no_cache_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(cache: Path, *_: object) -> None:
        raise StackError(f"into {cache.name}")

    monkeypatch.setattr(assemble, "fetch", fetch)
    with pytest.raises(StackError, match="into last"):
        assemble.assemble(tmp_path / "target", [tmp_path / "first", tmp_path / "last"])
