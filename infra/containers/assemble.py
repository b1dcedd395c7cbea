"""Put the programs into the image: `python -m infra.containers.assemble TARGET CACHE ...`.

Each CACHE is one of the native stack's. The first that holds everything is copied; if none does,
everything is fetched, and MinIO built, into the last.
"""

import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from infra.native_stack.cache import store
from infra.native_stack.fetch import POMS, fetch, find_artifacts
from infra.native_stack.maven import jars_directory
from infra.native_stack.minio import minio_directory

UNUSED_IN_REGISTRY = {
    "com.google.api.grpc.proto-google-common-protos": "schemas in Protobuf",
    "com.graphql-java.graphql-java": "schemas in GraphQL",
    "org.eclipse.jgit.org.eclipse.jgit": "schemas kept in a Git repository",
    "org.glassfish.jaxb.jaxb-xjc": "schemas in XSD",
    "org.jetbrains.kotlin.kotlin-reflect": "schemas in Protobuf",
    "org.projectnessie.cel.cel-standalone": "rules of data contracts",
    "org.xerial.snappy.snappy-java": "schemas kept in Kafka",
}
"""Jars of the registry without their versions, and what they are for. It starts, keeps and compares
our Avro schema without loading a class of them (seen with -Xlog:class+load): 21 MB."""
_ICU, _ICU_DATA = "com.ibm.icu.icu4j", "com/ibm/icu/impl/data/"
"""All languages' data, 12 MB. The registry loads six of ICU's classes, none of which reads it."""
_LIBRARY = re.compile(r"\.(so|dll|dylib|jnilib|a)$")
_FOR_THE_IMAGE = re.compile(r"(^|/)linux[-/](x86_64|amd64|aarch_?64)/", re.IGNORECASE)


def assemble(target: Path, caches: Sequence[Path]) -> None:
    """Copy what the programs need to run, and nothing of what fetched them.

    Raises StackError if something cannot be fetched or built.
    """
    complete = next((cache for cache in caches if find_artifacts(cache)), None)
    if complete is None:
        complete = caches[-1]
        fetch(complete, print, lambda: None)
    for directory in (*(jars_directory(complete, pom) for pom in POMS), minio_directory(complete)):
        _copy(directory, target / directory.name)


def shrink(jar: Path) -> None:
    """Remove from a jar what nothing in the image uses; without any it stays as it is, to the byte.

    That is native libraries for other systems than Linux with glibc on x86-64 and ARM64, of which
    codecs and SQLite bring one for each of up to 25 systems (40 MB in all), and what
    `UNUSED_IN_REGISTRY` and `_ICU_DATA` name. Such a jar stays, empty: the registry knows its jars
    by name.
    """
    with zipfile.ZipFile(jar) as archive:
        entries = archive.infolist()
        wanted = [entry for entry in entries if _is_wanted(jar.name, entry.filename)]
        if len(wanted) == len(entries):
            return
        partial = jar.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w") as smaller:
            for entry in wanted:
                smaller.writestr(entry, archive.read(entry))
    _keep_times(jar, partial)
    partial.replace(jar)


def _is_wanted(jar: str, entry: str) -> bool:
    if re.sub(r"-\d.*", "", jar) in UNUSED_IN_REGISTRY:
        return entry == "META-INF/MANIFEST.MF"
    if jar.startswith(_ICU) and entry.startswith(_ICU_DATA):
        return False
    return not _LIBRARY.search(entry) or bool(_FOR_THE_IMAGE.search(entry))


def _copy(source: Path, target: Path) -> None:
    def fill(partial: Path) -> None:
        shutil.copytree(source, partial, dirs_exist_ok=True)
        for jar in partial.rglob("*.jar"):
            shrink(jar)

    store(target, fill)
    # An image's layer is made again if a time in it has changed.
    for path in (*target.rglob("*"), target):
        _keep_times(source / path.relative_to(target), path)


def _keep_times(source: Path, target: Path) -> None:
    stat = source.stat()
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


if __name__ == "__main__":
    assemble(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
