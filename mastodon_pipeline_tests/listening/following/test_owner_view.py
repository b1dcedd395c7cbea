"""What a token's owner does not see of a public timeline is found by comparing two pages."""

import json

import pytest

from mastodon_pipeline.listening.following.owner_view import hidden_from_owner


def page(*toots: tuple[int, str | None]) -> list[bytes]:
    return [
        json.dumps(
            {
                "id": str(number),
                "uri": f"https://a.example/{number}",
                "created_at": "2026-01-01T00:00:00Z",
                "account": {"acct": "ann"},
                "language": language,
            }
        ).encode()
        for number, language in toots
    ]


EVERYBODY = page((10, "en"), (11, "de"), (12, "ja"), (13, "en"), (14, None))


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (EVERYBODY, ""),
        (page((11, "de"), (12, "ja"), (13, "en"), (14, None), (15, "fr")), ""),  # newer
        (page((10, "en"), (11, "de"), (13, "en"), (14, None)), ""),  # one deleted
        (page((10, "en"), (13, "en"), (15, "en")), "chosen languages, so the server leaves out"),
        (page((8, "en"), (9, "en"), (10, "en"), (13, "en"), (15, "en")), "others (de, ja)"),
        (page((10, "en"), (13, "en")), "others (de, ja)"),
        (page((11, "de"), (12, "ja"), (14, None)), "others (en)"),
        (page((10, "en"), (12, "ja"), (14, None)), "leaves out 2 of 5 toots"),
        (page((10, "de-CH"), (12, "ja"), (14, "en")), "leaves out 2 of 5 toots"),
        ([], "others (de, en, ja)"),
    ],
)
def test_what_is_hidden_is_described(owner: list[bytes], words: str) -> None:
    hidden = hidden_from_owner(EVERYBODY, owner)
    assert words in hidden
    assert bool(hidden) == bool(words)


def test_page_without_statuses_hides_nothing() -> None:
    assert hidden_from_owner([], EVERYBODY) == ""
    assert hidden_from_owner([b"{}"], []) == ""
