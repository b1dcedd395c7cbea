"""One code a language, from what clients and servers write as a toot's language.

A language tag (BCP 47) may be spelled in many ways: `pt-BR`, `PT_br`, `ptBr` (as some servers send
Mastodon's own locales), `por`, `pt_BR.UTF-8`. Its language subtag is normalised as Unicode's CLDR
does it: in lower case, by ISO 639-1 where that has a code, today's code for a deprecated one.
What is no language's code, as texts that strangers send often are, is the unknown language, ''.

See: https://www.rfc-editor.org/info/bcp47 and
https://unicode.org/reports/tr35/#Canonical_Unicode_Locale_Identifiers
"""

import re
from functools import lru_cache

_POSIX_SUFFIX = re.compile(r"[.@].*", re.S)
_CAMEL_CASE = re.compile(r"\A([a-z]{2,3})(?=[A-Z])")
_WITHOUT_A_LANGUAGE = frozenset({"", "mis", "und", "zxx"})
"""Uncoded, undetermined, and no linguistic content: nobody knows a language then. `mul`, several
languages, is known to be that."""
_PRIVATE_USE = re.compile("q[a-t][a-z]")
_NEWER_THAN_THE_LIBRARY = frozenset({"tok"})
"""Codes that Mastodon offers and `langcodes` does not know yet."""
_OF_DOMINANT_LANGUAGES = {
    "als": "sq",
    "arb": "ar",
    "ayr": "ay",
    "azj": "az",
    "cmn": "zh",
    "ekk": "et",
    "gaz": "om",
    "gug": "gn",
    "ike": "iu",
    "khk": "mn",
    "kmr": "ku",
    "knc": "kr",
    "kpv": "kv",
    "lvs": "lv",
    "npi": "ne",
    "ojg": "oj",
    "ory": "or",
    "pbu": "ps",
    "pes": "fa",
    "plt": "mg",
    "quz": "qu",
    "src": "sc",
    "swh": "sw",
    "twi": "ak",
    "uzn": "uz",
    "ydd": "yi",
    "zsm": "ms",
}
"""ISO 639-1 codes of languages that ISO 639-3 divides, by the code of the part that is meant when
nothing else is said. From CLDR's aliases of the reason `macrolanguage`; detectors write these."""


@lru_cache(4096)
def primary_language(tag: str) -> str:
    """Return the code of the language that a tag names, or '': `zh` for zh-CN, zho, zhHk, ZH_cn.

    Variants that have a code themselves are languages: zh-YUE is `yue`.
    """
    subtags = _CAMEL_CASE.sub(r"\1-", _POSIX_SUFFIX.sub("", tag.strip())).replace("_", "-")
    first, *others = subtags.lower().split("-")
    if others and (code := _language(f"{first}-{others[0]}")):
        return code  # An extended language (zh-yue) or a registered whole (art-lojban).
    return _language(first)


def _language(tag: str) -> str:
    # Here, not above: commands that never see a tag import this module.
    from langcodes import Language
    from langcodes.tag_parser import LanguageTagError

    if not tag.isascii():
        return ""
    try:
        language = Language.get(tag)
    except LanguageTagError:
        return ""
    code = language.language or ""
    if code in _WITHOUT_A_LANGUAGE or _PRIVATE_USE.fullmatch(code) or len(code) > 3:
        return ""
    if not language.is_valid() and code not in _NEWER_THAN_THE_LIBRARY:
        return ""
    return _OF_DOMINANT_LANGUAGES.get(code, code)
