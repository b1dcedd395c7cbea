"""Getting a person's token from a server: OAuth's code flow, the code copied by hand.

The token may read public and followed people's statuses and nothing else (`read:statuses`), which
is what streaming asks for.
See: https://docs.joinmastodon.org/client/authorized/ and .../api/oauth-scopes/
"""

import re
from pathlib import Path

from dotenv import set_key
from mastodon import Mastodon, MastodonAPIError, MastodonError

from mastodon_pipeline.errors import CrossHostRedirect, LoginFailed, UnsafeAddress
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.session import REQUEST_TIMEOUT, ServerSession
from mastodon_pipeline.listening.following.discovery import mastodon_client
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

SCOPES = ["read:statuses"]
_APP_NAME = "mastodon_pipeline"
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*")
"""What may stand in an Authorization header: RFC 6750, section 2.1."""


class Login:
    """One login at one server; use it as a context manager.

    Nothing is kept but the token: the application that is registered for it is forgotten.
    """

    def __init__(self, server: Server, settings: Settings) -> None:
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
        """Registers an application; the address where the person allows it. Raises LoginFailed."""
        try:
            client_id, client_secret = Mastodon.create_app(
                _APP_NAME,
                scopes=SCOPES,
                api_base_url=self._server.base_url,
                session=self._session,
                request_timeout=REQUEST_TIMEOUT,
                user_agent=self._settings.user_agent,
            )
            self._client = mastodon_client(self._server, None, self._session)
            self._client.client_id, self._client.client_secret = client_id, client_secret
            address: str = self._client.auth_request_url(
                scopes=SCOPES, allow_http=self._settings.mastodon_allow_private_addresses
            )
        except (KeyError, TypeError):
            raise LoginFailed(f"{self._server.name} registers no applications") from None
        except (MastodonError, UnsafeAddress, CrossHostRedirect) as error:
            raise LoginFailed(self._reason(error)) from None
        return address

    def finish(self, code: str) -> str:
        """The token for the code that the page showed. Raises LoginFailed."""
        assert self._client is not None, "begin comes first"
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
                    f"{self._server.name} does not accept this code (it is good for one login and "
                    "some minutes); begin again"
                ) from None
            raise LoginFailed(self._reason(error)) from None
        if not _BEARER.fullmatch(str(token)):
            raise LoginFailed(f"what {self._server.name} gave is no token")
        return str(token)

    def _reason(self, error: BaseException) -> str:
        inner = error.__context__
        if isinstance(inner, UnsafeAddress | CrossHostRedirect):
            return str(inner)
        return f"{self._server.name} gives no token: {network_reason(error)}"


def keep_token(path: Path, variable: str, token: str) -> None:
    """Writes `variable=token` into a settings file, in the place of an older one.

    The file's other lines stay. It is readable by its owner only, before and after, and replaced
    as a whole, so that no reader sees half of it. Raises OSError.
    """
    path = path.resolve()
    if path.exists():
        path.chmod(0o600)
    set_key(path, variable, token)  # A file of its own, mode 0600, renamed onto the old one.
