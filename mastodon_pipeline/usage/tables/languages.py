"""What languages are called in English, as the Unicode Consortium's CLDR has it.

See: https://cldr.unicode.org
"""

from collections.abc import Mapping
from functools import cache


@cache
def language_names() -> Mapping[str, str]:
    """English names by primary subtag: `de` is German. Codes of the 660 best-known languages."""
    from babel import Locale  # not at the module's head: only who builds a table needs the data

    names: Mapping[str, str] = Locale.parse("en").languages
    return {code: name for code, name in names.items() if "_" not in code and "-" not in code}
