"""What a browser is sent ahead of the page, against what Streamlit itself would send."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_static_routes import create_streamlit_static_handler

from mastodon_pipeline.dashboard.page_files import COMPONENTS, STATIC, PageFiles, later_scripts

MANIFEST: dict[str, Any] = json.loads(STATIC.joinpath("manifest.json").read_bytes())


@pytest.fixture(scope="module")
def streamlit_app() -> Starlette:
    return Starlette(
        routes=[Mount("/", create_streamlit_static_handler(str(STATIC), base_url=None))]
    )


@pytest.fixture
def begun() -> list[str]:
    """The queries of the pages that were begun."""
    return []


@pytest.fixture
def client(streamlit_app: Starlette, begun: list[str]) -> Iterator[TestClient]:
    with TestClient(PageFiles(streamlit_app, begun.append)) as client:
        yield client


def test_every_component_has_scripts_that_streamlits_page_does_not_name() -> None:
    page = STATIC.joinpath("index.html").read_text()
    for component in COMPONENTS:
        later = later_scripts(MANIFEST, [component])
        assert any(f"/{component}." in file for file in later), component
        assert [file for file in later if file in page] == []


def test_page_is_streamlits_with_the_later_scripts_at_the_end_of_its_head(
    client: TestClient,
) -> None:
    response = client.get("/?period=7d")
    page = STATIC.joinpath("index.html").read_text()
    links = "".join(
        f'<link rel="modulepreload" crossorigin href="./{file}">\n'
        for file in later_scripts(MANIFEST, COMPONENTS)
    )
    assert links
    assert response.text == page.replace("</head>", f"{links}</head>")
    assert response.headers["content-length"] == str(len(response.content))
    assert response.headers["cache-control"] == "no-cache"


def test_files_are_those_that_streamlit_sends(client: TestClient, streamlit_app: Starlette) -> None:
    script, style = (next(STATIC.glob(f"static/{kind}/*.{kind}")) for kind in ("js", "css"))
    font = next(STATIC.glob("static/media/*.woff2"))
    with TestClient(streamlit_app) as streamlit:
        for path in (script, style, font):
            address = f"/{path.relative_to(STATIC)}"
            ours, theirs = client.get(address), streamlit.get(address)
            assert ours.status_code == 200
            assert ours.content == theirs.content
            for header in ("content-type", "content-length", "cache-control"):
                assert ours.headers[header] == theirs.headers[header]


@pytest.mark.parametrize(
    "address", ["/static/js/none.js/", "/static/../index.html/", "/static/%2e%2e/manifest.json"]
)
def test_other_addresses_are_left_to_streamlit(
    client: TestClient, streamlit_app: Starlette, address: str
) -> None:
    with TestClient(streamlit_app) as streamlit:
        ours = client.get(address, follow_redirects=False)
        theirs = streamlit.get(address, follow_redirects=False)
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)


def test_query_of_a_page_is_passed_on_when_its_browser_begins_to_load_it(
    client: TestClient, begun: list[str]
) -> None:
    client.get("/?period=7d&server=one.example")
    client.get("/static/css/none.css")
    assert begun == ["period=7d&server=one.example"]
