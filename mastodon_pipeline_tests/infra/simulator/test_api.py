"""The simulated servers keep Mastodon's rules: what listens to them is ready for real ones."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from infra.simulator.fediverse import Options, default_servers
from infra.simulator.instance import ServerPolicy
from infra.simulator.limits import Limits, Rate
from infra.simulator.server import SimulatedServer
from infra.simulator.simulator import Simulator

SERVERS = (
    *default_servers(3),
    ServerPolicy("fortress.example", closed=True, activity=False),
    ServerPolicy("hush.example", local_feed="disabled", remote_feed="public"),
)
HARBOUR, MEADOW, ORBIT, FORTRESS, HUSH = range(5)


@pytest.fixture(scope="module")
def published() -> Iterator[Simulator]:
    """Five servers that have published their plan."""
    options = Options(servers=SERVERS, toots=1200, speed=float("inf"), start="now")
    with Simulator(options, control_port=0) as simulator:
        simulator.wait_until_done()
        yield simulator


def bearer(server: SimulatedServer) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.tokens.user}"}


def timeline(server: SimulatedServer, user: bool = False, **params: object) -> requests.Response:
    return requests.get(
        f"{server.base_url}/api/v1/timelines/public",
        params={name: str(value) for name, value in params.items()},
        headers=bearer(server) if user else {},
        timeout=300,
    )


def ids(response: requests.Response) -> list[int]:
    response.raise_for_status()
    return [int(status["id"]) for status in response.json()]


def everything_local(server: SimulatedServer) -> list[int]:
    """Return all local ids, oldest first, by paging forward with `min_id` like a listener."""
    listed: list[int] = []
    newest = 0
    while page := ids(timeline(server, user=server.policy.token, local=1, limit=40, min_id=newest)):
        assert page == sorted(page, reverse=True), "each page is newest first"
        listed += reversed(page)
        newest = page[0]
    return listed


def test_min_id_pages_forward_without_gaps(published: Simulator) -> None:
    """Paging by `min_id` from the start returns every listed toot once."""
    for position in (HARBOUR, MEADOW, ORBIT):
        server = published.servers[position]
        listed = [
            int(toot.listed[server.domain])
            for toot in published.truth()
            if toot.server == server.domain and not toot.deleted
        ]
        assert len(listed) > 40, "more than one page is needed"
        assert everything_local(server) == sorted(listed)


def test_since_id_returns_the_newest_and_leaves_a_gap(published: Simulator) -> None:
    """It returns the newest 40, not those right after the id."""
    server = published.servers[MEADOW]
    every = everything_local(server)
    assert ids(timeline(server, local=1, limit=40, since_id=every[0])) == every[:-41:-1]


def test_max_id_pages_backward(published: Simulator) -> None:
    """`max_id` is exclusive and continues towards older toots."""
    server = published.servers[MEADOW]
    every = everything_local(server)
    assert ids(timeline(server, local=1, limit=5, max_id=every[-3])) == every[-4:-9:-1]


def test_page_has_20_toots_by_default_and_40_at_most(published: Simulator) -> None:
    """DEFAULT_STATUSES_LIMIT, and Mastodon's maximum of twice that."""
    server = published.servers[MEADOW]
    assert len(ids(timeline(server, local=1))) == 20
    assert len(ids(timeline(server, local=1, limit=4000))) == 40


def test_link_header_leads_to_older_and_newer_pages(published: Simulator) -> None:
    """`next` is older, `prev` pages forward; an empty page has no links."""
    server = published.servers[MEADOW]
    every = everything_local(server)
    first = timeline(server, local=1, limit=10, max_id=every[20])
    older = requests.get(first.links["next"]["url"], timeout=300)
    newer = requests.get(first.links["prev"]["url"], timeout=300)
    assert ids(older) == every[9::-1]
    assert ids(newer) == every[29:19:-1]
    assert "local=1" in first.links["next"]["url"]
    assert "Link" not in timeline(server, local=1, min_id=every[-1]).headers


def test_remote_copies_have_other_ids_and_no_application(published: Simulator) -> None:
    """The same uri on several servers has different ids, and an `acct` with its domain."""
    server = published.servers[ORBIT]
    truth = {toot.uri: toot for toot in published.truth()}
    copies = timeline(server, remote=1, limit=40).json()
    assert copies
    for copy in copies:
        toot = truth[copy["uri"]]
        assert toot.server != server.domain
        assert copy["account"]["acct"].endswith(f"@{toot.server}")
        assert copy["id"] == toot.listed[server.domain] != toot.listed[toot.server]
        assert "application" not in copy


def test_public_feeds_exclude_boosts_unlisted_toots_and_replies(
    published: Simulator,
) -> None:
    """They are published, and counted in the server's activity, but not listed."""
    server = published.servers[ORBIT]
    happenings = published.fediverse.plan.events
    hidden = {h.toot.uri for h in happenings if not h.toot.in_public_feeds}
    kinds = {(h.toot.visibility, h.toot.reply_to, h.toot.boost_of is None) for h in happenings}
    assert {("unlisted", None, True), ("public", "other", True), ("public", None, False)} <= kinds
    assert hidden.isdisjoint(toot.uri for toot in published.truth())
    assert hidden.isdisjoint(status["uri"] for status in timeline(server, limit=40).json())
    weeks = requests.get(f"{server.base_url}/api/v1/instance/activity", timeout=300).json()
    own = [h for h in happenings if h.kind == "publish" and h.observer == server.domain]
    today = datetime.fromtimestamp(int(weeks[0]["week"]), UTC).date()
    ages = [(today - datetime.fromtimestamp(h.at // 1000, UTC).date()).days for h in own]
    assert len(weeks) == 12
    assert sum(int(week["statuses"]) for week in weeks) == sum(age % 7 != 1 for age in ages)


@pytest.mark.parametrize(
    ("position", "params", "user", "status"),
    [
        (HARBOUR, {}, False, 422),
        (HARBOUR, {"local": 1}, False, 422),
        (HARBOUR, {"local": 1}, True, 200),
        (MEADOW, {}, False, 422),
        (MEADOW, {"remote": 1}, False, 422),
        (MEADOW, {"local": "true"}, False, 200),
        (MEADOW, {"local": "false"}, False, 422),
        (ORBIT, {}, False, 200),
        (FORTRESS, {"local": 1}, False, 401),
        (FORTRESS, {"local": 1}, True, 200),
        (HUSH, {"local": 1}, False, 422),
        (HUSH, {"remote": 1}, False, 200),
    ],
)
def test_feed_access_by_policy_and_token(
    published: Simulator, position: int, params: dict[str, Any], user: bool, status: int
) -> None:
    """A feed that is not public answers 422 without a user, a closed API 401; without `local` or
    `remote` both feeds must be public."""
    assert timeline(published.servers[position], user=user, **params).status_code == status


def test_disabled_feed_is_empty_for_users(published: Simulator) -> None:
    """The other feed still has toots."""
    hush = published.servers[HUSH]
    assert timeline(hush, user=True, local=1).json() == []
    accounts = [status["account"] for status in timeline(hush, user=True).json()]
    assert accounts
    assert all("@" in account["acct"] for account in accounts)


def test_wrong_token_is_refused_everywhere(published: Simulator) -> None:
    """Even if no token is needed (Mastodon's `authorize_if_got_token!`)."""
    base = published.servers[ORBIT].base_url
    for path in ("timelines/public", "accounts/verify_credentials", "streaming/public"):
        wrong = {"Authorization": "Bearer wrong"}
        assert requests.get(f"{base}/api/v1/{path}", headers=wrong, timeout=300).status_code == 401


def test_streams_need_a_users_token(published: Simulator) -> None:
    """Anonymous requests and application tokens get 401, an unknown channel 400."""
    server = published.servers[ORBIT]
    stream = f"{server.base_url}/api/v1/streaming"
    granted = requests.post(
        f"{server.base_url}/oauth/token", data={"grant_type": "client_credentials"}, timeout=300
    ).json()
    app = {"access_token": granted["access_token"]}
    assert requests.get(f"{stream}/public", timeout=300).json() == {"error": "Missing access token"}
    assert requests.get(f"{stream}/public", params=app, timeout=300).status_code == 401
    unknown = requests.get(stream, params={"stream": "no"}, headers=bearer(server), timeout=300)
    assert unknown.status_code == 400


def test_instance_declares_streaming_address_and_feed_access(published: Simulator) -> None:
    server = published.servers[HARBOUR]
    instance = requests.get(f"{server.base_url}/api/v2/instance", timeout=300).json()
    assert instance["domain"] == "harbour.example"
    assert instance["configuration"]["urls"]["streaming"] == f"ws://127.0.0.1:{server.port}"
    assert instance["configuration"]["timelines_access"]["live_feeds"] == {
        "local": "authenticated",
        "remote": "authenticated",
    }
    fortress = published.servers[FORTRESS].base_url
    assert requests.get(f"{fortress}/api/v1/instance/activity", timeout=300).status_code == 404


@pytest.mark.parametrize("epoch", [False, True])
def test_rate_limit_headers_have_a_reset_and_no_retry_after(epoch: bool) -> None:
    """Beyond the limit: 429, remaining 0, and a reset in ISO 8601, or in epoch seconds."""
    limits = Limits(anonymous=Rate(100, 300), paging=Rate(3, 86400), epoch_reset=epoch)
    policy = replace(default_servers(2)[1], limits=limits)
    with Simulator(Options(servers=(policy,), toots=0)) as simulator:
        server = simulator.servers[0]
        answers = [timeline(server, local=1, min_id=0) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0"]
        refused = answers[-1].headers
        assert "Retry-After" not in refused
        assert refused["X-RateLimit-Limit"] == "3"
        text = refused["X-RateLimit-Reset"]
        reset = int(text) if epoch else datetime.fromisoformat(text).timestamp()
        assert 0 < reset - time.time() <= 86400
        assert timeline(server, local=1).status_code == 200, "another budget, not used up"


def test_anonymous_answers_are_cached_if_configured() -> None:
    """As Mastodon does for 15 s: an anonymous client sees a toot late, a user does not."""
    policy = ServerPolicy("slow.example", cache_seconds=60)
    with Simulator(Options(servers=(policy,), toots=0)) as simulator:
        server = simulator.servers[0]
        assert timeline(server, local=1).headers["Cache-Control"] == "public, max-age=60"
        uri = simulator.publish()
        assert timeline(server, local=1).json() == []
        assert [s["uri"] for s in timeline(server, user=True, local=1).json()] == [uri]


def test_statuses_look_like_mastodons(published: Simulator) -> None:
    """About 2.6 kB each, UTC times with milliseconds, various languages and applications."""
    server = published.servers[ORBIT]
    statuses = timeline(server, limit=40).json()
    while (page := timeline(server, limit=40, max_id=statuses[-1]["id"]).json()) != []:
        statuses += page
    size = sum(len(json.dumps(s, ensure_ascii=False).encode()) for s in statuses) / len(statuses)
    assert 2000 < size < 3200
    stamp = re.compile(r"20\d\d-\d\d-\d\dT[\d:]{8}\.\d{3}Z")
    assert all(stamp.fullmatch(status["created_at"]) for status in statuses)
    truth = published.truth()
    assert {None, "zh-CN", "en", "de"} <= {toot.language for toot in truth}
    assert {"", "Web", "Tusky"} <= {toot.app for toot in truth}
    for kind in ("bot", "noindex", "edited", "deleted", "reply", "mentions", "media", "tags"):
        assert any(getattr(toot, kind) for toot in truth), kind


def test_tokens_can_be_set_by_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's variable names the token, so clients can reconnect after a restart."""
    port = _free_port()
    monkeypatch.setenv(f"MASTODON_TOKEN_127_0_0_1_{port}", "given-before")
    options = Options(servers=(ServerPolicy("a.example"),), toots=0, first_port=port)
    with Simulator(options) as simulator:
        assert simulator.servers[0].tokens.user == "given-before"
        assert simulator.environment["MASTODON_SERVERS"] == f"http://127.0.0.1:{port}"


def _free_port() -> int:
    with Simulator(Options(servers=(ServerPolicy("a.example"),), toots=0)) as simulator:
        return simulator.servers[0].port


def test_servers_and_control_port_listen_on_loopback_only(published: Simulator) -> None:
    addresses = published.call(lambda: published.fediverse.addresses)
    assert len(addresses) == len(SERVERS) + 1
    assert {host for host, _ in addresses} == {"127.0.0.1"}
    status = requests.get(f"{published.control_url}/status", timeout=300).json()
    assert (status["planned"], status["published"], status["done"]) == (1200, 1200, True)
