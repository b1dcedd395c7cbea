"""Differences of other server software: WebSockets, ULIDs, closed timelines, as in GoToSocial."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import pytest
import requests

from infra.simulator.gotosocial import ulid, ulid_number
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from infra.simulator.weather import CALM
from mastodon_pipeline_tests.infra.simulator.api import INSTANCE, STREAM, TIMELINE, get
from mastodon_pipeline_tests.support.simulated_servers import quiet

T = TypeVar("T")


def in_session(work: Callable[[aiohttp.ClientSession], Awaitable[T]]) -> T:
    async def run() -> T:
        async with aiohttp.ClientSession() as session:
            return await work(session)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("policy", "token_in"),
    [(gotosocial("g.example"), "header"), (ServerPolicy("m.example"), "query")],
)
def test_websocket_carries_the_same_events(policy: ServerPolicy, token_in: str) -> None:
    """JSON whose payload is JSON in a string; a delete's payload is the id."""
    with Simulator(quiet(policy)) as simulator:
        server = simulator.servers[0]
        token = server.tokens.user or ""
        query, headers = {"stream": "public:local"}, {}
        if token_in == "header":
            headers = {"Authorization": f"Bearer {token}"}
        else:
            query["access_token"] = token

        async def read(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
            url = f"{server.streaming_url}/api/v1/streaming"
            async with session.ws_connect(url, params=query, headers=headers) as websocket:
                uri = await asyncio.to_thread(simulator.publish)
                updated = json.loads((await websocket.receive(5)).data)
                toot = simulator.fediverse.live_toots[0]
                await asyncio.to_thread(simulator.call, lambda: server.delete(toot))
                deleted = json.loads((await websocket.receive(5)).data)
                await asyncio.to_thread(simulator.call, server.streams.end)
                assert (await websocket.receive(5)).type is aiohttp.WSMsgType.CLOSE
                assert json.loads(updated["payload"])["uri"] == uri
                return [updated, deleted]

        updated, deleted = in_session(read)
        assert (updated["stream"], updated["event"]) == (["public:local"], "update")
        assert deleted["event"] == "delete"
        assert deleted["payload"] == json.loads(updated["payload"])["id"]
        simulator.wait_until(lambda: len(server.streams) == 0)


def test_gotosocial_has_ulids_and_no_event_streams() -> None:
    """Its instance does not reveal feed access, and anonymous clients get 401."""
    with Simulator(quiet(gotosocial("g.example"), weather=CALM)) as simulator:
        server = simulator.servers[0]
        uris = [simulator.publish() for _ in range(3)]
        listed = get(server, TIMELINE, params={"local": "true"}).json()
        assert [status["uri"] for status in listed] == uris[::-1]
        ids = [status["id"] for status in listed]
        assert all(len(ulid) == 26 for ulid in ids)
        after = get(server, TIMELINE, params={"min_id": ids[-1], "limit": 1})
        assert [status["id"] for status in after.json()] == [ids[1]]
        assert get(server, TIMELINE, params={"min_id": "0", "limit": 1}).json()[0]["id"] == ids[2]
        assert {t.uri: t.listed["g.example"] for t in simulator.truth()} == dict(
            zip(uris, ids[::-1], strict=True)
        )
        assert get(server, STREAM).status_code == 404
        assert get(server, "v1/streaming", params={"stream": "public"}).status_code == 400
        anonymous = f"{server.base_url}/api/{TIMELINE}?local=true"
        assert requests.get(anonymous, timeout=300).status_code == 401
        instance = get(server, INSTANCE).json()
        assert "timelines_access" not in instance["configuration"]
        assert instance["source_url"].endswith("gotosocial")


def test_ulids_sort_like_their_numbers() -> None:
    """They can be converted back."""
    numbers = [1_700_000_000_000 << 16 | sequence for sequence in (1, 2, 0x8000, 0xFFFF)]
    numbers.append(1_700_000_000_001 << 16)
    texts = [ulid(number) for number in numbers]
    assert texts == sorted(texts)
    assert [ulid_number(text) for text in texts] == numbers
    assert ulid_number("0") == 0
