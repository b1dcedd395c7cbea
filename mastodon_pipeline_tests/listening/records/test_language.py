"""One code a language, however its tag is spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.records.language import primary_language

SPELLINGS = {
    "zh": ("zh", "ZH", "zh-CN", "ZH_cn", "zhHk", "zh-Hant-TW", "zho", "chi", "cmn", "zhHant"),
    "en": ("en", "EN", "en-GB", "en_US.UTF-8", "eng", " en ", "enUS", "en-", "en-x-" + "a" * 60),
    "pt": ("pt-BR", "PT_br", "ptBr", "por", "pt_BR@euro"),
    "de": ("de", "deu", "ger", "de-DE-1996", "de-AT"),
    "fr": ("fra", "fre", "fr-CA"),
    "es": ("es-AR", "es-419", "spa"),
    "ja": ("ja", "jpn", "ja-JP"),
    "he": ("he", "iw", "heb"),
    "id": ("id", "in", "ind"),
    "yue": ("yue", "zh-YUE", "zh-yue-HK"),
    "sr": ("sr", "sr-Latn", "sh"),
    "nb": ("nb", "nob", "nb-NO"),
    "no": ("no", "nor"),
    "fa": ("fa", "per", "fas", "pes"),
    "ar": ("ar", "arb", "ara"),
    # Languages without an ISO 639-1 code, as Mastodon offers them.
    "tok": ("tok", "TOK"),
    "kab": ("kab",),
    "nds": ("nds", "nds-NL"),
    "jbo": ("jbo", "art-lojban"),
    "ldn": ("ldn",),
    "mul": ("mul",),
}
NO_LANGUAGE = (
    *("", "  ", "-", "_", "und", "zxx", "mis", "unknown", "english", "klingon!", "xx", "q", "123"),
    *(
        "x-Klingon",
        "qaa",
        "qqq",
        "中文",
        "ｅｎ",
        "e\N{COMBINING ACUTE ACCENT}n",
        "a" * 64,
        "en" * 32,
    ),
    *("\0", "en\0", "zz9", "None", "null", "<b>en</b>"),
)


@pytest.mark.parametrize(
    ("tag", "code"), [(tag, code) for code, tags in SPELLINGS.items() for tag in tags]
)
def test_spellings_of_a_language_have_one_code(tag: str, code: str) -> None:
    assert primary_language(tag) == code


@pytest.mark.parametrize("tag", NO_LANGUAGE)
def test_text_that_names_no_language_is_the_unknown_one(tag: str) -> None:
    assert primary_language(tag) == ""


@given(st.text(max_size=64))
def test_any_text_gives_a_short_code_or_none(tag: str) -> None:
    code = primary_language(tag)
    assert code == "" or (code.isascii() and code.islower() and code.isalpha() and len(code) <= 3)
    assert primary_language(code) == code, "a code stands for itself"
