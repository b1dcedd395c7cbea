"""The English names of languages, from the Unicode Consortium's CLDR.

See: https://cldr.unicode.org
"""

from collections.abc import Mapping
from functools import cache


@cache
def language_names() -> Mapping[str, str]:
    """Return English names by primary subtag: `de` is German. 660 languages have one."""
    from babel import Locale  # here, not above: only what builds a table needs its data

    names: Mapping[str, str] = Locale.parse("en").languages
    return {code: name for code, name in names.items() if "_" not in code and "-" not in code}
