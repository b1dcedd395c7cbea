"""The client of Kafka Connect's REST API, against a server that answers as Connect does."""

import pytest

from mastodon_pipeline.errors import ConnectRefused, ConnectUnavailable
from mastodon_pipeline.landing.connect_rest import ConfigProblem, ConnectRest
from mastodon_pipeline_tests.support.scripted_connect import ScriptedConnect

CONFIG = {"name": "sink", "connector.class": "org.example.Sink"}


def test_call_is_repeated_while_the_worker_rebalances(connect: ScriptedConnect) -> None:
    """Connect answers 409: the config arrives although the first two calls were refused."""
    conflict = (409, {"error_code": 409, "message": "Cannot complete request: rebalance"})
    connect.on("PUT /connectors/sink/config", conflict, conflict, (201, {}))
    with ConnectRest(connect.url) as rest:
        rest.put_config("sink", CONFIG)
    assert connect.requests == [("PUT /connectors/sink/config", CONFIG)] * 3


def test_question_is_repeated_while_the_worker_rebalances(connect: ScriptedConnect) -> None:
    """Kafka 4 answers one for a connector's config with 500 then."""
    message = "Request cannot be completed because a rebalance is expected"
    connect.on("GET /connectors/sink/config", (500, {"message": message}), (200, CONFIG))
    with ConnectRest(connect.url) as rest:
        assert rest.config("sink") == CONFIG


def test_rebalance_past_the_deadline_is_refused(connect: ScriptedConnect) -> None:
    """The error has Connect's own message."""
    connect.on("GET /connector-plugins", (409, {"message": "a rebalance\nis expected"}))
    with (
        ConnectRest(connect.url, deadline_seconds=0.3) as rest,
        pytest.raises(ConnectRefused, match=r"\(409\): a rebalance is expected"),
    ):
        rest.plugins()


def test_missing_connector_has_no_config_or_status(connect: ScriptedConnect) -> None:
    with ConnectRest(connect.url) as rest:
        assert rest.config("sink") is None
        assert rest.status("sink") is None
        assert rest.delete("sink") is False


def test_validation_lists_each_key_with_its_objection(connect: ScriptedConnect) -> None:
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


def test_status_has_the_stack_trace_of_a_failed_task(connect: ScriptedConnect) -> None:
    """A RUNNING connector with a FAILED task does not run."""
    connect.runs(CONFIG, state="FAILED", trace="java.lang.Boom: bang\n\tat x")
    with ConnectRest(connect.url) as rest:
        status = rest.status("sink")
    assert status is not None
    assert not status.running
    assert status.failures == {"task 0": "java.lang.Boom: bang\n\tat x"}
    assert status.summary == "connector RUNNING, task 0 FAILED"


def test_connector_without_tasks_does_not_run(connect: ScriptedConnect) -> None:
    """As right after its creation, when Connect already reports it as RUNNING."""
    status = {"name": "sink", "connector": {"state": "RUNNING", "worker_id": "w"}, "tasks": []}
    connect.on("GET /connectors/sink/status", (200, status))
    with ConnectRest(connect.url) as rest:
        connector = rest.status("sink")
    assert connector is not None
    assert not connector.running


def test_restart_covers_failed_tasks_or_all_tasks(connect: ScriptedConnect) -> None:
    """See: https://kafka.apache.org/documentation/#connect_rest"""
    path = "POST /connectors/sink/restart?includeTasks=true&onlyFailed="
    connect.on(f"{path}true", (202, {}))
    connect.on(f"{path}false", (202, {}))
    with ConnectRest(connect.url) as rest:
        rest.restart("sink")
        rest.restart("sink", only_failed=False)
    assert [request for request, _ in connect.requests] == [f"{path}true", f"{path}false"]


def test_unreachable_connect_is_one_line_that_names_the_fix() -> None:
    with (
        ConnectRest("http://127.0.0.1:1") as rest,
        pytest.raises(ConnectUnavailable, match=r"make up.*KAFKA_CONNECT_URL") as refused,
    ):
        rest.plugins()
    assert "\n" not in str(refused.value)


def test_another_worker_is_asked_where_one_does_not_answer(connect: ScriptedConnect) -> None:
    """Each of a group's workers answers for all of it; the error names all that were asked."""
    connect.on("GET /connectors/sink/config", (200, CONFIG))
    gone = "http://127.0.0.1:1"
    for urls in ((gone, connect.url), (connect.url, gone), (gone, gone, connect.url)):
        with ConnectRest(*urls) as rest:
            assert rest.config("sink") == CONFIG
            assert rest.config("sink") == CONFIG
    with (
        ConnectRest(gone, "http://127.0.0.1:2") as rest,
        pytest.raises(ConnectUnavailable, match=r"http://127\.0\.0\.1:1,http://127\.0\.0\.1:2"),
    ):
        rest.plugins()
