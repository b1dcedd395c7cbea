"""Dagster's webserver as the stack starts it: foreign pages cannot use it, its own pages can.

Shows G24.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import dagster as dg
import httpx
import pytest
from dagster_graphql import DagsterGraphQLClient

from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.usage.remembered_day import FirstDay, save_first_day
from mastodon_pipeline_tests.support.foreign_pages import foreign_page
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
JOB = """
import dagster
from mastodon_pipeline.usage.partitions import days

@dagster.asset(partitions_def=days)
def dated():
    pass

@dagster.op
def leave_a_trace():
    pass

@dagster.job
def foreign_job():
    leave_a_trace()

definitions = dagster.Definitions(assets=[dated], jobs=[foreign_job])
"""
LAUNCH = """
mutation { launchRun(executionParams: {
  selector: {repositoryLocationName: "jobs.py", repositoryName: "__repository__",
             pipelineName: "foreign_job"}, mode: "default", runConfigData: {}
}) { __typename ... on PythonError { message } } }
"""
FIRST_DAY = """
{ assetNodes { partitionKeysByDimension(startIdx: 0, endIdx: 0) { partitionKeys } } }
"""
RUNS = "{ runsOrError { ... on Runs { results { runId } } } }"


@dataclass(frozen=True)
class Webserver:
    """A running webserver with one job."""

    port: int
    home: Path
    client: httpx.Client
    """For all requests, since to make one takes 20 ms of CPU."""

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def runs(self) -> int:
        """Count the runs that anybody launched."""
        answer = self.post(RUNS).json()
        return len(answer["data"]["runsOrError"]["results"])

    def first_day(self) -> str:
        """Return the first of the partitions that its pages list."""
        [node] = self.post(FIRST_DAY).json()["data"]["assetNodes"]
        return str(node["partitionKeysByDimension"][0]["partitionKeys"][0])

    def post(self, query: str, **headers: str) -> httpx.Response:
        """Send a GraphQL request as programs do."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"{self.url}/graphql", json={"query": query}, headers=named)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Get a page of it."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.get(f"{self.url}{path}", headers=named)


@contextmanager
def running_webserver(directory: Path, *module: str, **variables: str) -> Iterator[Webserver]:
    """Run a webserver of a job that does nothing, and stop it."""
    (directory / "jobs.py").write_text(JOB)
    (directory / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", *module, "-h", "127.0.0.1", "-p", str(port)),
            *("-f", str(directory / "jobs.py"), "-d", str(directory)),
        ],
        env={**os.environ, "DAGSTER_HOME": str(directory), **variables},
        cwd=REPOSITORY,
    )
    try:
        # Each request has its own connection: a server closes one that rests for five seconds.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(timeout=300, limits=limits) as client:
            webserver = Webserver(port, directory, client)

            def answers() -> bool:
                assert process.poll() is None
                try:
                    return webserver.get("/server_info").is_success
                except httpx.TransportError:
                    return False

            wait_until(answers, "the webserver answers", timeout_seconds=1200)
            yield webserver
    finally:
        process.terminate()
        process.wait(900)


@pytest.fixture(scope="module")
def webserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    """The webserver that the native stack starts."""
    directory = tmp_path_factory.mktemp("dagster")
    with running_webserver(
        directory, "infra.webserver", DAGSTER_ALLOWED_HOSTS="pipeline.example, second.example"
    ) as webserver:
        yield webserver


def test_pages_list_older_days_once_the_tables_begin_with_them(webserver: Webserver) -> None:
    """Without a reload: Dagster's own webserver asks for partitions once."""
    with dg.DagsterInstance.from_config(str(webserver.home)) as instance:
        for day in (date(2026, 11, 1), date(2019, 2, 1)):
            save_first_day(instance, FirstDay(day, datetime.now(UTC)))
            wait_until(
                lambda day=day: webserver.first_day() == str(day),  # type: ignore[misc]
                f"the pages begin with {day}",
                timeout_seconds=1200,
            )


def test_a_mutation_in_an_address_is_refused(webserver: Webserver) -> None:
    """By GET, which any page's picture sends, and by POST without a body."""
    before = webserver.runs()
    address = f"/graphql?{urlencode({'query': LAUNCH})}"

    assert webserver.get(address).status_code == 403
    assert webserver.client.post(f"{webserver.url}{address}").status_code == 403
    assert webserver.client.head(f"{webserver.url}{address}").status_code in (403, 405)
    two = urlencode(
        {
            "query": f"query Harmless {{ version }} {LAUNCH.replace('mutation', 'mutation M')}",
            "operationName": "M",
        }
    )
    assert webserver.get(f"/graphql?{two}").status_code == 403
    twice = f"{urlencode({'query': RUNS})}&{urlencode({'query': LAUNCH})}"
    assert webserver.get(f"/graphql?{twice}").status_code == 403
    assert webserver.get(f"/graphql/?{urlencode({'query': LAUNCH})}").status_code in (403, 404)
    assert webserver.runs() == before


def test_a_query_in_an_address_still_answers(webserver: Webserver) -> None:
    answer = webserver.get(f"/graphql?{urlencode({'query': '{ version }'})}")

    assert answer.json()["data"]["version"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain; application/json", "multipart/form-data", ""]
)
def test_a_body_that_a_page_sends_without_asking_is_refused(
    webserver: Webserver, content_type: str
) -> None:
    before = webserver.runs()

    answer = webserver.client.post(
        f"{webserver.url}/graphql",
        content=json.dumps({"query": LAUNCH}),
        headers={"Content-Type": content_type},
    )

    assert answer.status_code == 403
    assert webserver.runs() == before


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost@evil.example",
     "127.0.0.1:3000@evil.example", "[::1].evil.example", "0.0.0.0", "", "127.0.0.1:3000, a"],
)  # fmt: skip
def test_a_foreign_host_is_refused(webserver: Webserver, host: str) -> None:
    """After DNS rebinding a foreign page is of the same origin, but has its own name."""
    before = webserver.runs()

    assert webserver.get("/", Host=host).status_code in (400, 403)
    assert webserver.post(LAUNCH, Host=host).status_code in (400, 403)
    assert webserver.runs() == before


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost:3000", "LOCALHOST:8080", "[::1]:3000", "pipeline.example",
     "second.example:443"],
)  # fmt: skip
def test_own_and_allowed_hosts_are_served_under_any_port(webserver: Webserver, host: str) -> None:
    """A port forwarded over SSH may have another number."""
    assert webserver.get("/server_info", Host=host).is_success


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:9", "http://localhost:{port}", "",
     "https://127.0.0.1", "http://[", "http://127.0.0.1:{port}.evil.example", "file://"],
)  # fmt: skip
def test_a_foreign_origin_is_refused(webserver: Webserver, origin: str) -> None:
    """Another port of this machine is another origin: somebody else may serve it."""
    before = webserver.runs()
    foreign = origin.format(port=webserver.port)

    assert webserver.post(LAUNCH, Origin=foreign).status_code == 403
    assert webserver.get("/server_info", Origin=foreign).status_code == 403
    assert webserver.runs() == before


def test_a_proxy_with_an_allowed_name_may_rewrite_the_host(webserver: Webserver) -> None:
    """As nginx does by default."""
    assert webserver.post(RUNS, Origin="https://pipeline.example").is_success
    assert webserver.post(RUNS, Origin="https://pipeline.example.evil.example").status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_a_foreign_site_is_refused(webserver: Webserver, site: str) -> None:
    before = webserver.runs()

    assert webserver.get("/server_info", Sec_Fetch_Site=site).status_code == 403
    assert webserver.post(LAUNCH, Sec_Fetch_Site=site).status_code == 403
    framed = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
    assert webserver.get("/", Sec_Fetch_Site=site, **framed).status_code == 403
    link = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert webserver.get("/graphql", Sec_Fetch_Site=site, **link).status_code == 403
    assert webserver.runs() == before


def test_a_link_from_another_site_opens_a_page(webserver: Webserver) -> None:
    link = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}

    page = webserver.get("/runs", Sec_Fetch_Site="cross-site", **link)

    assert page.is_success
    assert page.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:{port}"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_a_websocket_of_a_foreign_page_is_refused(
    webserver: Webserver, headers: dict[str, str], accepted: bool
) -> None:
    """Browsers do not ask before they open a WebSocket: the server must look at the Origin."""
    named = {name: value.format(port=webserver.port) for name, value in headers.items()}

    async def first_message() -> str:
        url = f"{webserver.url}/graphql"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, protocols=("graphql-ws",), headers=named) as socket,
        ):
            await socket.send_json({"type": "connection_init"})
            return str((await socket.receive_json(timeout=300))["type"])

    if accepted:
        assert asyncio.run(first_message()) == "connection_ack"
    else:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            asyncio.run(first_message())
        assert refused.value.status == 403


@pytest.mark.filterwarnings("ignore:Using variable_values:DeprecationWarning")
def test_programs_launch_runs_as_before(webserver: Webserver) -> None:
    """The mutation of these tests, and Dagster's own client."""
    before = webserver.runs()

    assert webserver.post(LAUNCH).json()["data"]["launchRun"]["__typename"] == "LaunchRunSuccess"
    DagsterGraphQLClient("127.0.0.1", webserver.port).submit_job_execution("foreign_job")

    assert webserver.runs() == before + 2


ATTACKS = """async ([url, launch]) => {
    const address = url + '/graphql?query=' + encodeURIComponent(launch);
    const body = JSON.stringify({query: launch});
    const simple = {method: 'POST', mode: 'no-cors', body};
    const types = ['text/plain', 'text/plain; application/json'];
    const attempts = [
        fetch(address, {mode: 'no-cors'}),
        fetch(address, {method: 'POST', mode: 'no-cors'}),
        fetch(url + '/graphql', 
              {method: 'POST', body, headers: {'Content-Type': 'application/json'}}),
        ...types.map(type => fetch(url + '/graphql', {...simple, headers: {'Content-Type': type}})),
        new Promise(done => {
            const picture = new Image();
            picture.onerror = picture.onload = done;
            picture.src = address;
        }),
        new Promise(done => {
            const frame = document.createElement('iframe');
            frame.onload = frame.onerror = done;
            frame.src = address;
            document.body.append(frame);
        }),
    ];
    await Promise.allSettled(attempts);
    return await new Promise(done => {
        const socket = new WebSocket(url.replace('http', 'ws') + '/graphql', 'graphql-ws');
        socket.onopen = () => done('open');
        socket.onerror = () => done('refused');
    });
}"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: apt install chromium")
def test_a_foreign_page_in_a_real_browser_launches_nothing(webserver: Webserver) -> None:
    """The own page works at both of its usual addresses, its WebSocket included."""
    from playwright.sync_api import expect, sync_playwright

    before = webserver.runs()
    with sync_playwright() as playwright, foreign_page() as foreign:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                *("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"),
                "--host-resolver-rules=MAP evil.example 127.0.0.1",
            ],
        )
        page = browser.new_page()
        for host in ("127.0.0.1", "evil.example"):
            page.goto(foreign.replace("127.0.0.1", host))
            assert page.evaluate(ATTACKS, [webserver.url, LAUNCH]) == "refused"
        rebound = page.goto(f"http://evil.example:{webserver.port}/runs")
        assert rebound is not None
        assert rebound.status == 403
        assert webserver.runs() == before

        for url in (webserver.url, webserver.url.replace("127.0.0.1", "localhost")):
            own = browser.new_page()
            own.goto(f"{url}/runs")
            expect(own.get_by_role("link", name="Runs").first).to_be_visible(timeout=300_000)
            query = [f"{url}/graphql", RUNS]
            answer = own.evaluate(
                """async ([address, query]) => (await fetch(address, {
                    method: 'POST', body: JSON.stringify({query}),
                    headers: {'Content-Type': 'application/json'},
                })).status""",
                query,
            )
            assert answer == 200
            opened = own.evaluate(
                """(address) => new Promise(done => {
                    const socket = new WebSocket(address, 'graphql-ws');
                    socket.onopen = () => done('open');
                    socket.onerror = () => done('refused');
                })""",
                f"{url.replace('http', 'ws')}/graphql",
            )
            assert opened == "open"
        browser.close()
