"""Getting a person's token from a server by OAuth's code flow; the code is pasted by hand.

The token may read public and followed people's statuses and nothing else (`read:statuses`), which
is what streaming requires.
See: https://docs.joinmastodon.org/client/authorized/ and .../api/oauth-scopes/
"""

import re
from pathlib import Path

from dotenv import set_key
from mastodon import Mastodon, MastodonAPIError, MastodonError

from mastodon_pipeline.errors import CrossHostRedirect, LoginFailed, UnsafeAddress
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.session import (
    REQUEST_TIMEOUT_SECONDS,
    ServerSession,
    mastodon_client,
)
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

SCOPES = ["read:statuses"]
_APP_NAME = "mastodon_pipeline"
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")
"""What an Authorization header may contain: RFC 6750, section 2.1."""


class Login:
    """One login at one server; a context manager.

    Only the token is stored; the application registered for it is not.
    """

    def __init__(
        self,
        server: Server,
        settings: Settings,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        """`timeout_seconds`: for each read; each of the two exchanges takes three times as long."""
        self._timeout_seconds = timeout_seconds
        self._server = server
        self._settings = settings
        self._session = ServerSession(
            settings.user_agent, settings.mastodon_allow_private_addresses
        )
        self._client: Mastodon | None = None

    def __enter__(self) -> "Login":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def begin(self) -> str:
        """Register an application and return the URL at which a person authorizes it.

        Raises LoginFailed if the server refuses or cannot be reached.
        """
        try:
            client_id, client_secret = Mastodon.create_app(
                _APP_NAME,
                scopes=SCOPES,
                api_base_url=self._server.base_url,
                session=self._session,
                request_timeout=self._timeout_seconds,
                user_agent=self._settings.user_agent,
            )
            self._client = mastodon_client(self._server, None, self._session, self._timeout_seconds)
            self._client.client_id, self._client.client_secret = client_id, client_secret
            url: str = self._client.auth_request_url(
                scopes=SCOPES, allow_http=self._settings.mastodon_allow_private_addresses
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise LoginFailed(f"{self._server.name} does not register applications") from None
        except (MastodonError, UnsafeAddress, CrossHostRedirect) as error:
            raise LoginFailed(self._reason(error)) from None
        return url

    def finish(self, code: str) -> str:
        """Exchange the code that the page showed for a token.

        Raises LoginFailed if the server does not grant one.
        """
        assert self._client is not None, "call begin first"
        try:
            token = self._client.log_in(
                code=code.strip(),
                scopes=SCOPES,
                allow_http=self._settings.mastodon_allow_private_addresses,
            )
        except (MastodonError, KeyError) as error:
            if isinstance(error, MastodonAPIError):
                raise LoginFailed(f"{self._server.name} did not grant {SCOPES[0]}") from None
            if isinstance(error.__context__, MastodonAPIError):
                raise LoginFailed(
                    f"{self._server.name} does not accept this code (it is valid once, for some "
                    "minutes); log in again"
                ) from None
            raise LoginFailed(self._reason(error)) from None
        if not _BEARER.fullmatch(str(token)):
            raise LoginFailed(f"{self._server.name} returned something that is not a token")
        return str(token)

    def _reason(self, error: BaseException) -> str:
        inner = error.__context__
        if isinstance(inner, UnsafeAddress | CrossHostRedirect):
            return str(inner)
        return f"no token from {self._server.name}: {network_reason(error)}"


def save_token(path: Path, variable: str, token: str) -> None:
    """Write `variable=token` to a settings file, replacing an earlier value.

    The file's other lines stay. It becomes readable by its owner only, and is replaced as a whole,
    so that no reader sees half of it. Raises OSError.
    """
    path = path.resolve()
    if path.exists():
        path.chmod(0o600)
    set_key(path, variable, token)  # A new file, mode 0600, renamed over the old one.
