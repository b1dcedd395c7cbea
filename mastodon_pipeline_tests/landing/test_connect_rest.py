"""The client of Kafka Connect's REST API, against a server that answers as Connect does."""

import pytest

from mastodon_pipeline.errors import ConnectRefused, ConnectUnavailable
from mastodon_pipeline.landing.connect_rest import ConfigProblem, ConnectRest
from mastodon_pipeline_tests.landing.conftest import ScriptedConnect

CONFIG = {"name": "sink", "connector.class": "org.example.Sink"}


def test_a_rebalancing_worker_is_asked_again(connect: ScriptedConnect) -> None:
    """409 means come back: the config arrives although the first two calls were refused."""
    conflict = (409, {"error_code": 409, "message": "Cannot complete request: rebalance"})
    connect.on("PUT /connectors/sink/config", conflict, conflict, (201, {}))
    with ConnectRest(connect.url) as rest:
        rest.put_config("sink", CONFIG)
    assert connect.requests == [("PUT /connectors/sink/config", CONFIG)] * 3


def test_a_rebalance_without_end_is_given_up(connect: ScriptedConnect) -> None:
    """After the deadline the refusal is told in Connect's own words."""
    connect.on("GET /connector-plugins", (409, {"message": "a rebalance\nis expected"}))
    with (
        ConnectRest(connect.url, deadline_seconds=0.3) as rest,
        pytest.raises(ConnectRefused, match=r"\(409\): a rebalance is expected"),
    ):
        rest.plugins()


def test_what_does_not_exist_is_none(connect: ScriptedConnect) -> None:
    """A connector that is not there is an answer, not an error."""
    with ConnectRest(connect.url) as rest:
        assert rest.config("sink") is None
        assert rest.status("sink") is None
        assert rest.delete("sink") is False


def test_problems_are_told_key_by_key(connect: ScriptedConnect) -> None:
    """Validation gives the key and Connect's objection, for each key with one."""
    answer = {
        "name": "org.example.Sink",
        "error_count": 1,
        "configs": [
            {"definition": {}, "value": {"name": "topics", "errors": ["must not be empty"]}},
            {"definition": {}, "value": {"name": "tasks.max", "errors": []}},
        ],
    }
    connect.on("PUT /connector-plugins/org.example.Sink/config/validate", (200, answer))
    with ConnectRest(connect.url) as rest:
        assert rest.validate(CONFIG) == (ConfigProblem("topics", "must not be empty"),)


def test_status_tells_what_failed_and_why(connect: ScriptedConnect) -> None:
    """A RUNNING connector with a FAILED task does not run."""
    connect.runs(CONFIG, state="FAILED", trace="java.lang.Boom: bang\n\tat x")
    with ConnectRest(connect.url) as rest:
        status = rest.status("sink")
    assert status is not None
    assert not status.running
    assert status.failures == {"task 0": "java.lang.Boom: bang\n\tat x"}
    assert status.summary == "connector RUNNING, task 0 FAILED"


def test_a_connector_without_tasks_does_not_run_yet(connect: ScriptedConnect) -> None:
    """Right after its creation a connector is RUNNING and has no task."""
    status = {"name": "sink", "connector": {"state": "RUNNING", "worker_id": "w"}, "tasks": []}
    connect.on("GET /connectors/sink/status", (200, status))
    with ConnectRest(connect.url) as rest:
        found = rest.status("sink")
    assert found is not None
    assert not found.running


def test_a_restart_says_whether_only_what_failed(connect: ScriptedConnect) -> None:
    """See: https://kafka.apache.org/documentation/#connect_rest"""
    path = "POST /connectors/sink/restart?includeTasks=true&onlyFailed="
    connect.on(f"{path}true", (202, {}))
    connect.on(f"{path}false", (202, {}))
    with ConnectRest(connect.url) as rest:
        rest.restart("sink")
        rest.restart("sink", only_failed=False)
    assert [request for request, _ in connect.requests] == [f"{path}true", f"{path}false"]


def test_nobody_there_is_one_line_that_names_the_fix() -> None:
    """Port 1 answers nobody."""
    with (
        ConnectRest("http://127.0.0.1:1") as rest,
        pytest.raises(ConnectUnavailable, match=r"make up.*KAFKA_CONNECT_URL") as refused,
    ):
        rest.plugins()
    assert "\n" not in str(refused.value)
