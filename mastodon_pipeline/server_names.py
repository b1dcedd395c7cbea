"""One name a server, however it is written.

A server's name is its domain as DNS has it: in lower case, internationalized labels as A-labels
(`xn--bcher-kva.example` for `Bücher.example`), without a final dot, and with a port only if it is
not https's. Homographs stay apart that way, and names fit in URLs.

Everything that names a server takes its name from here: the servers that a person writes down, and
so their base URLs, feeds' keys, positions and groups (`servers.parse_server`); an author's home
server, and the domain that a server reports as its accounts' (`record.home_server`,
`instance.instance_info`); so also the column `server` and what `server_coverage` compares with it.

See: https://www.rfc-editor.org/info/rfc5891 (IDNA 2008), https://www.unicode.org/reports/tr46/
"""

import re
import unicodedata
from functools import lru_cache

MAX_CHARACTERS = 256
"""Beyond any domain's 253; the rest of a longer text is cut off."""
_PORT = re.compile(r":([0-9]{1,5})\Z")
_DOTS = re.compile("[.\N{IDEOGRAPHIC FULL STOP}\uff0e\uff61]")


@lru_cache(8192)
def server_name(domain: str, default_port: int = 443) -> str:
    """Return the one name of the server at a domain, which may have a port."""
    domain = domain.strip()[:MAX_CHARACTERS]
    port = _PORT.search(domain)
    host = domain[: port.start()] if port else domain
    name = (host.lower() if host.isascii() else _ascii_name(host)).rstrip(".")
    if port and int(port[1]) != default_port:
        return f"{name}:{int(port[1])}"
    return name


def _ascii_name(host: str) -> str:
    import idna  # here, not above: `--help` and `sql` import this module, and need no IDNA

    try:
        return idna.encode(host.rstrip("."), uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        # Emoji, for example: registered under IDNA 2003, and in use.
        return ".".join(map(_ascii_label, _DOTS.split(host)))


def _ascii_label(label: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    if folded.isascii():
        return folded
    return f"xn--{folded.encode('punycode', 'replace').decode('ascii')}"
