"""The forms that settings may have, beyond their types; pydantic names the variable."""

import re
import ssl
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, FilePath, SecretStr

_BROKER = re.compile(r"(?:[A-Za-z_]+://)?(?:\[[0-9A-Fa-f:.]+\]|[^\s,:/\[\]@]+)(?::(\d{1,5}))?")
_JDBC_PASSWORD = re.compile(
    r"(?:[?&;](?:password|passwd|pass|pwd|sslpassword)=([^&;]*))|//[^/?#:@]*:([^/?#@]+)@",
    re.IGNORECASE,
)
_CONFIG_PROVIDER = re.compile(r"\$\{\w+:[^}]+\}")
"""Kafka Connect's reference to a secret that its worker reads when it starts a connector."""
_SQLALCHEMY_URL = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\+[A-Za-z0-9_]+)?:/\S*")


def check_text(value: object) -> object:
    """Refuse text that no program could be given: bytes that are no UTF-8, control characters."""
    if isinstance(value, tuple):
        for part in value:
            check_text(part)
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("it is not text in UTF-8")
        if any(character < " " or character == "\x7f" for character in value):
            raise ValueError("it holds a line break or another control character")
    return value


def _http_address(value: str) -> str:
    parts = _split(value, "http://127.0.0.1:8081/apis")
    if parts.query or parts.fragment:
        raise ValueError("an address without ? and # is wanted")
    return value


def _http_addresses(value: str) -> str:
    return ",".join(_http_address(part.strip()) for part in value.split(","))


def _public_http_address(value: str) -> str:
    if "@" in _split(_http_address(value), "http://127.0.0.1:8081/apis").netloc:
        raise ValueError(
            "it holds credentials, which Kafka Connect's REST API would show to everyone: set"
            " SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, here and in the environment of"
            " Connect's worker"
        )
    return value


def _http_origin(value: str) -> str:
    parts = _split(value, "http://127.0.0.1:9000")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("it may have no path: write it like http://127.0.0.1:9000")
    if "@" in parts.netloc:
        raise ValueError("it may hold no credentials: they are AWS_ACCESS_KEY_ID's business")
    return value.removesuffix("/")


def _split(value: str, example: str) -> SplitResult:
    refusal = ValueError(f"it is not an address: write it like {example}")
    try:
        parts = urlsplit(value)
        port = parts.port  # checked on access
    except ValueError:
        raise refusal from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise refusal
    if re.search(r"[\s\\\"<>]", value):
        raise refusal
    return parts


def _brokers(value: str) -> str:
    for broker in value.split(","):
        match = _BROKER.fullmatch(broker.strip())
        if match is None or (match[1] and not 0 < int(match[1]) < 65536):
            raise ValueError(
                f"{broker.strip()!r} is not a broker: write them like 127.0.0.1:9092, with commas"
            )
    return value


def _upper_case(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _contact(value: str) -> str:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            "an HTTP header cannot hold it: write a page or an e-mail address in Latin letters"
        ) from None
    return value


def _jdbc_address(value: str) -> str:
    if not re.fullmatch(r"jdbc:[a-z0-9]+:.+", value, re.IGNORECASE):
        raise ValueError("it is not a JDBC address: write it like jdbc:postgresql://host/database")
    secrets = [match[1] or match[2] for match in _JDBC_PASSWORD.finditer(value)]
    if any(not _CONFIG_PROVIDER.fullmatch(secret) for secret in secrets):
        raise ValueError(
            "it holds a password, which Kafka Connect's REST API would show to everyone: write"
            " password=${env:NAME}, and set NAME in the environment of Connect's worker and here"
        )
    return value


def _sqlalchemy_address(value: SecretStr) -> SecretStr:
    if not _SQLALCHEMY_URL.fullmatch(value.get_secret_value()):
        raise ValueError(
            "it is not a SQLAlchemy address: write it like postgresql://user:password@host/database"
        )
    return value


def _authorities(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=value)
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise ValueError(f"{value} holds no certificate in PEM, or cannot be read") from None
    return value


def _user_name(value: str) -> str:
    if ":" in value:
        raise ValueError("a user's name holds no colon")
    return value


def _key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("a key consists of ASCII characters without spaces")
    return value


HttpAddress = Annotated[str, AfterValidator(_http_address)]
"""An http or https address, with a path or without."""
HttpAddresses = Annotated[str, AfterValidator(_http_addresses)]
"""Comma-separated addresses of the same service."""
PublicHttpAddress = Annotated[str, AfterValidator(_public_http_address)]
"""The same without credentials, because it is part of the connector's configuration."""
HttpOrigin = Annotated[str, AfterValidator(_http_origin)]
"""An http or https address that ends with host and port."""
Brokers = Annotated[str, AfterValidator(_brokers)]
"""Comma-separated `host:port`."""
UpperCase = BeforeValidator(_upper_case)
"""For a name that may be written in lower case, too."""
Contact = Annotated[str, AfterValidator(_contact)]
"""Text that an HTTP header can hold."""
JdbcAddress = Annotated[str, AfterValidator(_jdbc_address)]
"""An address as Java's databases have it."""
SqlAlchemyAddress = Annotated[SecretStr, AfterValidator(_sqlalchemy_address)]
"""An address as SQLAlchemy has it."""
UserName = Annotated[str, AfterValidator(_user_name)]
"""A user of an HTTP service: basic authentication puts a colon before the password."""
AuthoritiesFile = Annotated[FilePath, AfterValidator(_authorities)]
"""A file of certificates in PEM."""
AccessKey = Annotated[SecretStr, AfterValidator(_key)]
"""A key of the object store, or its secret."""
