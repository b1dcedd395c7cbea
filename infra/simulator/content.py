"""Simulated authors and toots, generated from a seeded random source.

A `Toot` is the same object on every server. It changes when its author edits or deletes it, and it
knows under which id each server listed it.
"""

import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal, TypeVar
from urllib.parse import quote

from infra.simulator import words

AUTHORS_A_SERVER = 26
_FIRST_NUMBER = 115_000_000_000_000_000
T = TypeVar("T")
App = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Author:
    """An account at home on `server` (a domain)."""

    username: str
    server: str
    bot: bool = False
    noindex: bool = False
    """The author opts out of search engines."""
    indexable: bool = True
    """The author opts in to Mastodon's search; not doing so is not the same as `noindex`."""
    language: str | None = "en"
    app: App | None = None

    @property
    def page(self) -> str:
        return f"https://{self.server}/@{self.username}"

    @property
    def uri(self) -> str:
        return f"https://{self.server}/users/{self.username}"

    def acct(self, observer: str) -> str:
        """Return the account's name on the server `observer`: without domain on its home server."""
        return self.username if observer == self.server else f"{self.username}@{self.server}"


@dataclass(frozen=True, slots=True)
class Body:
    """A toot's content as Mastodon's HTML, and as the plain text that should be extracted from it.

    The text follows Mastodon's `PlainTextFormatter`: a newline between paragraphs and for
    `<br />`, and links as their full address.
    """

    html: str
    text: str


@dataclass(slots=True)
class Toot:
    """A toot and its history; times are UTC milliseconds since the epoch."""

    uri: str
    author: Author
    created_at: int
    language: str | None
    body: Body
    tags: tuple[str, ...] = ()
    mentions: tuple[Author, ...] = ()
    emojis: tuple[str, ...] = ()
    media: int = 0
    spoiler: str = ""
    visibility: Literal["public", "unlisted", "private"] = "public"
    reply_to: Literal["self", "other"] | None = None
    boost_of: "Toot | None" = None
    quotes: "Toot | None" = None
    edited_at: int | None = None
    deleted: bool = False
    published: bool = False
    earlier: list[Body] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)
    """Domain of each observing server to the id there; not removed by a delete."""

    @property
    def server(self) -> str:
        """The home server's domain."""
        return self.author.server

    @property
    def in_public_feeds(self) -> bool:
        """Mastodon's rule for public timelines and streams: a public toot that is neither a boost
        nor a reply to another author. A reply to oneself (a thread) is included."""
        return self.visibility == "public" and self.boost_of is None and self.reply_to != "other"

    def edit(self, body: Body, at: int) -> None:
        """Replace the content."""
        self.earlier.append(self.body)
        self.body = body
        self.edited_at = at


class Writer:
    """Generates toots for every server; the same seed and calls give the same toots.

    Toots are numbered per server, so that a `uri` does not depend on other servers.
    """

    def __init__(
        self, authors: Mapping[str, Sequence[Author]], rng: random.Random, number_from: int = 1
    ) -> None:
        self._rng = rng
        self.authors = authors
        self._numbers = dict.fromkeys(authors, number_from)
        self._all_authors = [author for people in self.authors.values() for author in people]
        self._latest: dict[str, Toot] = {}

    def toot(self, server: str, at: int) -> Toot:
        """Generate a public top-level toot by an author of `server`, created `at` (UTC ms)."""
        rng = self._rng
        author = rng.choice(self.authors[server])
        toot = self._draft(author, at)
        if rng.random() < 0.08:
            toot.reply_to = "self"
        if zlib.crc32(toot.uri.encode()) % 60 == 0:
            toot.quotes = self._latest.get(server)
        if toot.quotes is None:  # Mastodon shows a quote within a quote only by its id
            self._latest[server] = toot
        return toot

    def unlisted(self, server: str, at: int, boosted: Toot | None) -> Toot:
        """Generate a toot that is in no public feed: unlisted, private, a reply, or a boost."""
        toot = self._draft(self._rng.choice(self.authors[server]), at)
        kinds = ["unlisted", "private", "reply"] + (["boost"] if boosted else [])
        kind = self._rng.choice(kinds)
        if kind == "reply":
            toot.reply_to = "other"
        elif kind == "boost":
            toot.boost_of, toot.body = boosted, Body("", "")
        else:
            toot.visibility = "unlisted" if kind == "unlisted" else "private"
        return toot

    def edited(self, toot: Toot) -> Body:
        """Generate the toot's content after an edit."""
        more = self._rng.choice(words.SENTENCES[toot.language or "en"])
        return Body(f"{toot.body.html}<p>{html(more)}</p>", f"{toot.body.text}\n{more}")

    @classmethod
    def with_new_authors(cls, domains: Sequence[str], rng: random.Random) -> "Writer":
        """Return a writer with authors generated from `rng`."""
        return cls({domain: cls._people(domain, rng) for domain in domains}, rng)

    @staticmethod
    def _people(domain: str, rng: random.Random) -> list[Author]:
        handles = rng.sample(words.HANDLES, AUTHORS_A_SERVER - 2)
        people = [
            Author(
                handle,
                domain,
                noindex=position < 2,
                indexable=position >= 2 and rng.random() < 0.4,
                language=_weighted(rng, words.LANGUAGES),
                app=_weighted(rng, words.APPS),
            )
            for position, handle in enumerate(handles)
        ]
        bots = rng.sample(words.BOT_HANDLES, 2)
        return people + [Author(handle, domain, bot=True, app=words.BOT_APP) for handle in bots]

    def _draft(self, author: Author, at: int) -> Toot:
        rng = self._rng
        number = self._numbers[author.server]
        self._numbers[author.server] += 1
        tags = tuple(rng.sample(words.TAGS, rng.choices((0, 1, 2, 3), (60, 22, 12, 6))[0]))
        mentions = tuple(rng.sample(self._all_authors, 1)) if rng.random() < 0.12 else ()
        emojis = (rng.choice(words.CUSTOM_EMOJI),) if rng.random() < 0.06 else ()
        return Toot(
            uri=f"{author.uri}/statuses/{_FIRST_NUMBER + number}",
            author=author,
            created_at=at,
            language=author.language,
            body=self._body(author, tags, mentions, emojis),
            tags=tags,
            mentions=mentions,
            emojis=emojis,
            media=rng.choices((0, 1, 2, 4), (78, 15, 5, 2))[0],
            spoiler=rng.choice(words.WARNINGS) if rng.random() < 0.05 else "",
        )

    def _body(
        self,
        author: Author,
        tags: tuple[str, ...],
        mentions: tuple[Author, ...],
        emojis: tuple[str, ...],
    ) -> Body:
        rng = self._rng
        pool = words.SENTENCES[author.language or "en"]
        markup, text = [], []
        for _ in range(rng.choices((1, 2, 3), (70, 22, 8))[0]):
            sentences = rng.sample(pool, rng.choices((1, 2, 3), (45, 40, 15))[0])
            joint = rng.choice((" ", " ", "\n"))
            markup.append(joint.join(html(s) for s in sentences))
            text.append(joint.join(sentences))
        if mentions:
            markup[0] = " ".join([_mention(person) for person in mentions] + [markup[0]])
            text[0] = " ".join([f"@{person.username}" for person in mentions] + [text[0]])
        if rng.random() < 0.2:
            emoji = rng.choice(words.EMOJI)
            markup[-1], text[-1] = f"{markup[-1]} {emoji}", f"{text[-1]} {emoji}"
        for shortcode in emojis:
            markup[-1], text[-1] = f"{markup[-1]} :{shortcode}:", f"{text[-1]} :{shortcode}:"
        if rng.random() < 0.2:
            link = rng.choice(words.LINKS)
            markup[-1], text[-1] = f"{markup[-1]} {link_html(link)}", f"{text[-1]} {link}"
        if tags:
            markup.append(" ".join(hashtag_html(author.server, tag) for tag in tags))
            text.append(" ".join(f"#{tag}" for tag in tags))
        paragraphs = "".join(f"<p>{part}</p>" for part in markup).replace("\n", "<br />")
        return Body(paragraphs, "\n".join(text))


def _weighted(rng: random.Random, choices: Sequence[tuple[T, int]]) -> T:
    values, weights = zip(*choices, strict=True)
    chosen: T = rng.choices(values, weights)[0]
    return chosen


def _mention(person: Author) -> str:
    return (
        f'<span class="h-card" translate="no"><a href="{person.page}" class="u-url mention">'
        f"@<span>{person.username}</span></a></span>"
    )


def hashtag_html(server: str, tag: str) -> str:
    """Return a hashtag in Mastodon's markup."""
    return (
        f'<a href="https://{server}/tags/{quote(tag.lower())}" class="mention hashtag" rel="tag">'
        f"#<span>{tag}</span></a>"
    )


def link_html(address: str, rel: str = "nofollow noopener") -> str:
    """Return a link in Mastodon's markup: scheme and what exceeds 30 characters in hidden spans."""
    scheme, rest = address.split("://", 1)
    shown, hidden = rest[:30], rest[30:]
    kind = "ellipsis" if hidden else ""
    return (
        f'<a href="{html(address)}" target="_blank" rel="{rel}" translate="no">'
        f'<span class="invisible">{scheme}://</span><span class="{kind}">{html(shown)}</span>'
        f'<span class="invisible">{html(hidden)}</span></a>'
    )


def html(text: str) -> str:
    """Escape text as Mastodon does: apostrophes as `&#39;`, quotation marks as `&quot;`."""
    return escape(text).replace("&#x27;", "&#39;")
