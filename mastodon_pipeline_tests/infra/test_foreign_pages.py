"""Kafka Connect and the registry on the real stack: a foreign web page gets nothing from them.

Browsers send a page's simple requests without asking the server first, and after DNS rebinding
any request; but no page knows the password. Shows G24.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from infra.native_stack import Stack
from mastodon_pipeline_tests.support.foreign_pages import foreign_page

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
SCHEMA = '{"schema": "\\"string\\""}'
FOREIGN = {"Origin": "https://evil.example"}
REBOUND = {"Host": "evil.example", "Origin": "http://evil.example"}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client for all requests, since to make one takes 20 ms of CPU.

    Each has its own connection: a server may close one after a request that it refuses.
    """
    with httpx.Client(timeout=300, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


@pytest.mark.parametrize("headers", [{}, FOREIGN, REBOUND], ids=["plain", "origin", "host"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
def test_nobody_without_the_password_changes_a_connector(
    client: httpx.Client, stack: Stack, headers: dict[str, str], content_type: str
) -> None:
    """A restart needs no body, so a page of any origin could send it."""
    url = stack.addresses.kafka_connect_url
    named = {**headers, "Content-Type": content_type}
    config = '{"name": "foreign", "config": {}}'

    answers = [
        client.post(f"{url}/connectors", content=config, headers=named),
        client.post(f"{url}/connectors/mastodon-sink/restart", headers=named),
        client.put(f"{url}/connectors/mastodon-sink/pause", headers=named),
        client.delete(f"{url}/connectors/mastodon-sink", headers=named),
        client.get(f"{url}/connectors", headers=headers),
        client.get(f"{url}/connectors", headers=headers, auth=("pipeline", "a guess")),
        client.put(f"{url}/admin/loggers/root", content='{"level": "OFF"}', headers=named),
        client.get(f"{url}/", headers=headers),
    ]

    assert {answer.status_code for answer in answers} <= {401, 400, 415}
    assert not any("access-control-allow-origin" in answer.headers for answer in answers)


@pytest.mark.parametrize("headers", [{}, FOREIGN, REBOUND], ids=["plain", "origin", "host"])
@pytest.mark.parametrize("api", ["ccompat/v7", "registry/v2", "registry/v3"])
def test_nobody_without_the_password_changes_a_schema(
    client: httpx.Client, stack: Stack, headers: dict[str, str], api: str
) -> None:
    url = stack.addresses.schema_registry_url.removesuffix("ccompat/v7") + api
    paths = {
        "ccompat/v7": "subjects/foreign-value/versions",
        "registry/v2": "groups/default/artifacts",
        "registry/v3": "groups/default/artifacts",
    }

    answers = [
        client.post(
            f"{url}/{paths[api]}", content=SCHEMA, headers={**headers, "Content-Type": kind}
        )
        for kind in ("text/plain", "application/json", "application/vnd.schemaregistry.v1+json")
    ]
    answers += [
        client.get(f"{url}/subjects", headers=headers),
        client.get(f"{url}/subjects", headers=headers, auth=("pipeline", "a guess")),
        client.put(f"{url}/config", content='{"compatibility": "NONE"}', headers=headers),
        client.delete(f"{url}/subjects/foreign-value", headers=headers),
        client.get(url.partition("/apis")[0], headers=headers),
    ]

    assert {answer.status_code for answer in answers} <= {401, 403}
    if headers is not REBOUND:  # the rebound page is of the same origin, so may read its 401
        assert not any("access-control-allow-origin" in answer.headers for answer in answers)


def test_the_registry_refuses_a_foreign_origin_that_knows_the_password(
    client: httpx.Client, stack: Stack
) -> None:
    url = f"{stack.addresses.schema_registry_url}/subjects"
    login = ("pipeline", stack.environment["SCHEMA_REGISTRY_PASSWORD"])

    assert client.get(url, auth=login).status_code == 200
    assert client.get(url, auth=login, headers=FOREIGN).status_code == 403


def test_a_schema_by_its_id_is_open_to_programs_alone(client: httpx.Client, stack: Stack) -> None:
    """To a sink that was configured before there was a password; to no page, and to no change."""
    registry = stack.addresses.connect_registry_url
    url = f"{registry}/ids/contentIds/1"
    login = ("pipeline", stack.environment["SCHEMA_REGISTRY_PASSWORD"])
    subject = f"{stack.addresses.schema_registry_url}/subjects/open-value/versions"
    client.post(subject, content=SCHEMA, auth=login, headers={"Content-Type": "application/json"})

    assert client.get(url).status_code == 200
    assert client.get(url, headers=FOREIGN).status_code == 403
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, url).status_code == 401
    for path in ("ids/../search/artifacts", "ids/%2e%2e/search/artifacts", "search/artifacts"):
        assert client.get(f"{registry}/{path}").status_code == 401


def test_the_registrys_management_shows_its_health_alone(
    client: httpx.Client, stack: Stack
) -> None:
    """It asks for no password, and can be asked for nothing else."""
    url = f"http://127.0.0.1:{stack.ports.registry_management_port}"

    assert client.get(f"{url}/health/ready").json()["status"] == "UP"
    for path in ("apis/ccompat/v7/subjects", "apis/registry/v3/system/info"):
        assert client.get(f"{url}/{path}").status_code == 404


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: apt install chromium")
def test_a_foreign_page_in_a_real_browser_registers_no_schema(
    client: httpx.Client, stack: Stack
) -> None:
    """Nor does it get a prompt through that a person might answer: the requests come from code."""
    from playwright.sync_api import Error, Response, sync_playwright

    registry, connect = stack.addresses.schema_registry_url, stack.addresses.kafka_connect_url
    statuses: dict[str, int] = {}
    with sync_playwright() as playwright, foreign_page() as foreign:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
                "--host-resolver-rules=MAP evil.example 127.0.0.1",
            ],
        )
        page = browser.new_page()

        def note(answer: Response) -> None:
            statuses.setdefault(answer.url, answer.status)

        page.on("response", note)
        page.goto(foreign)
        page.evaluate(
            """async ([registry, connect, schema]) => {
                const simple = {method: 'POST', mode: 'no-cors',
                                headers: {'Content-Type': 'text/plain'}};
                await Promise.allSettled([
                    fetch(registry + '/subjects/foreign-value/versions', {...simple, body: schema}),
                    fetch(connect + '/connectors', {...simple, body: '{}'}),
                    fetch(connect + '/connectors/mastodon-sink/restart',
                          {method: 'POST', mode: 'no-cors'}),
                ]);
            }""",
            [registry, connect, SCHEMA],
        )
        for url in (f"{registry}/subjects", f"{connect}/connectors"):
            rebound = url.replace("127.0.0.1", "evil.example")
            with suppress(Error):  # for a prompt for the password that nobody answers
                answer = browser.new_page().goto(rebound)
                assert answer is not None
                assert answer.status == 401
        browser.close()

    own = {url: status for url, status in statuses.items() if not url.startswith(foreign)}
    assert len(own) >= 3
    assert set(own.values()) <= {401, 403, 415}
    login = ("pipeline", stack.environment["SCHEMA_REGISTRY_PASSWORD"])
    assert "foreign-value" not in client.get(f"{registry}/subjects", auth=login).json()
