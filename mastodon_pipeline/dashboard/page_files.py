"""The files of Streamlit's library, served to browsers: quickly, and named before they are needed.

A visitor's browser asks for a hundred small scripts before it shows a number. Streamlit reads each
through a pool of threads, and its page names only those that every page needs: the browser would
ask for those of key figures and charts when the first one arrives.
"""

import json
import mimetypes
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import streamlit
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(streamlit.__file__).with_name("static")
"""Its page and, below `static/`, files whose names change with their content."""
COMPONENTS = ("Html", "ButtonGroup", "Metric", "Multiselect", "ArrowVegaLiteChart")
"""What the page consists of, in its order, but for what is in every page of Streamlit."""
_HEAD_END = b"</head>"


def later_scripts(manifest: Mapping[str, Any], components: Iterable[str]) -> list[str]:
    """List the scripts of components that the page does not name itself, as Vite's manifest says.

    See: https://vite.dev/guide/backend-integration
    """
    named = dict.fromkeys(_with_imports(manifest, "index.html"))
    entries = {
        chunk.get("name"): key for key, chunk in manifest.items() if "isDynamicEntry" in chunk
    }
    later: dict[str, None] = {}
    for component in components:
        if component in entries:
            later |= dict.fromkeys(_with_imports(manifest, entries[component]))
    return [manifest[key]["file"] for key in later if key not in named]


def _with_imports(manifest: Mapping[str, Any], entry: str) -> list[str]:
    keys, seen = [entry], {entry}
    for key in keys:  # grows
        for imported in manifest[key].get("imports", ()):
            if imported in manifest and imported not in seen:
                seen.add(imported)
                keys.append(imported)
    return keys


class PageFiles:
    """Answers for Streamlit's static files, and adds to its page which scripts come next."""

    def __init__(
        self, app: ASGIApp, on_page: Callable[[str], None], directory: Path = STATIC
    ) -> None:
        """`on_page`: called with the query of each page that a browser begins to load."""
        self._app, self._on_page = app, on_page
        self._files = {
            f"/{path.relative_to(directory).as_posix()}": path
            for path in directory.glob("static/**/*")
            if path.is_file()
        }
        manifest = json.loads(directory.joinpath("manifest.json").read_bytes())
        self._hints = "".join(
            f'<link rel="modulepreload" crossorigin href="./{file}">\n'
            for file in later_scripts(manifest, COMPONENTS)
        ).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            if path := self._files.get(scope["path"]):
                await _send_file(path, send)
                return
            if scope["path"] == "/":
                send = self._adding_hints(send)
                self._on_page(scope["query_string"].decode("ascii", "replace"))
        await self._app(scope, receive, send)

    def _adding_hints(self, send: Send) -> Send:
        start: Message = {}
        body = b""

        async def sending(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            if start["status"] == 200:
                body = body.replace(_HEAD_END, self._hints + _HEAD_END, 1)
                start["headers"] = [
                    (name, str(len(body)).encode() if name.lower() == b"content-length" else value)
                    for name, value in start["headers"]
                ]
            await send(start)
            await send({"type": "http.response.body", "body": body})

        return sending


async def _send_file(path: Path, send: Send) -> None:
    body = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind = f"{kind}; charset=utf-8"
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", kind.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"public, immutable, max-age=31536000"),
                (b"x-content-type-options", b"nosniff"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
