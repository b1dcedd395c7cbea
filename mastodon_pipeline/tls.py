"""TLS towards our own services, whose certificates a private authority may have signed.

Certificates and host names are always verified: there is no setting that switches it off.
"""

import socket
import ssl
from collections.abc import Iterator

from urllib3.util.ssl_match_hostname import CertificateError

from mastodon_pipeline.settings import Settings

_EXPIRED, _NOT_YET_VALID, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64
"""OpenSSL's numbers for why a certificate is refused (x509_vfy.h)."""
_OTHER_NAME = (
    "its certificate is for another name: use that name in the address, or get a certificate for"
    " this one"
)
_HANDSHAKE_SECONDS = 3.0


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return a context that trusts SERVICES_CA_FILE; None if the system's authorities will do.

    Raises SettingsError through `load_settings` if the file does not exist, ssl.SSLError if it
    holds no certificate.
    """
    path = settings.services_ca_file
    return None if path is None else ssl.create_default_context(cafile=path)


def certificate_problem(error: BaseException) -> str | None:
    """Return why a connection failed at TLS, and which setting fixes it; None if it did not.

    HTTP libraries wrap the error of Python's `ssl`, which is searched for.
    """
    for cause in _causes(error):
        if isinstance(cause, CertificateError):  # urllib3 compares the names itself
            return _OTHER_NAME
        if isinstance(cause, ssl.SSLCertVerificationError):
            if cause.verify_code == _EXPIRED:
                return "its certificate has expired: renew it"
            if cause.verify_code == _NOT_YET_VALID:
                return "its certificate is not valid yet: check the clocks"
            if cause.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
                return _OTHER_NAME
            return (
                f"its certificate is signed by no trusted authority ({cause.verify_message}): set"
                " SERVICES_CA_FILE to a PEM file of the authority"
            )
        if isinstance(cause, ssl.SSLError):
            if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
                return "it does not speak TLS: is it meant to be reached without?"
            return f"TLS failed ({cause.reason or cause})"
    return None


def handshake_problem(host: str, port: int, authorities: str | None) -> str | None:
    """Return what a TLS handshake with a server finds wrong, as `certificate_problem` does.

    For clients whose own errors do not say it. `authorities` is a PEM file, None for the system's.
    """
    context = ssl.create_default_context(cafile=authorities)
    try:
        with (
            socket.create_connection((host, port), timeout=_HANDSHAKE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return None
    except OSError as error:  # ssl.SSLError is one
        return certificate_problem(error)


def speaks_tls(host: str, port: int) -> bool:
    """Return whether a server takes part in a handshake, whatever its certificate is."""
    try:
        with (
            socket.create_connection((host, port), timeout=_HANDSHAKE_SECONDS) as connection,
            ssl.create_default_context().wrap_socket(connection, server_hostname=host),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return True
    except OSError:
        return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that it was raised from, or that it wraps."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [*each.args, each.__cause__, each.__context__, getattr(each, "reason", None)]
