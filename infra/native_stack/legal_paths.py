"""Which paths the stack's programs can all live in, checked before anything is made there."""

import re
from pathlib import Path

from infra.native_stack.errors import StackError

_REFUSED = re.compile(r"""[\x00-\x1f\x7f\ud800-\udfff,;:?#%*|<>$`'"\\\[\]{}]""")
"""Kafka splits its directories at commas, H2 at semicolons, Java's class path at colons; in
supervisord's configuration and SQLite's addresses `%`, `?`, `#`, `*` and brackets mean more."""


def check_path(path: Path, setting: str) -> None:
    """Check that each of the stack's programs can use a directory of this path.

    Spaces and letters of any language can be used. Raises StackError, which names the setting.
    """
    if match := _REFUSED.search(str(path)):
        raise StackError(
            f"{str(path)!r} holds {match[0]!r}, which some of the stack's programs cannot have in a"
            f" path: set {setting} to a directory without it"
        )
