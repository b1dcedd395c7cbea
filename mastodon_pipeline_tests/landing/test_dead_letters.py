"""The schema registry is away while the sink starts: what becomes of good records."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.health_checks import _sink
from mastodon_pipeline.cli.machine_checks import Unhealthy
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.dead_letters import read_sink_letters
from mastodon_pipeline.landing.health import SinkState
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.landing.test_no_loss import check_in_dagster
from mastodon_pipeline_tests.support.landing_sink import FIRST, HOURS, sink_state, wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, produce_bytes, toots
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]
COUNT = 120


def test_good_dead_letters_turn_lights_red_until_they_are_put_back(
    sink: Settings, landed: int, lake: Lake
) -> None:
    """Nothing answers at the registry's address when the sink's converter starts, cache empty.

    Once it answers, the next records land, and the sink commits past those in the dead letters.

    The check, the sink's health and `doctor` tell of each letter; `replay --dead-letters` sends
    the good ones once, and the lights are green again once these have landed. Shows G10.
    """
    wait_for_sink(sink)
    with registry_that_comes_late(sink) as (address, come):
        wanted = connector_config(sink) | {"value.converter.apicurio.registry.url": address}
        apply_connector_config(sink, print, wanted=wanted)
        produce(sink, toots(COUNT, FIRST, HOURS))
        wait_until(lambda: len(read_sink_letters(sink).unsettled) == COUNT, "the dead letters")
        come()
        produce_bytes(sink, b"no record", partition=0)
        produce(sink, toots(100, FIRST, HOURS))
        wait_for_sink(sink)
    apply_connector_config(sink, print)

    evaluation = check_in_dagster()
    assert not evaluation.passed
    assert f"{COUNT + 1} records are in the dead letters instead, the first since" in str(
        evaluation.description
    )
    assert evaluation.metadata["dead_lettered"].value == COUNT + 1
    assert sink_state(sink) is SinkState.DEAD_LETTERING
    with pytest.raises(Unhealthy, match=f"{COUNT + 1} records went to the dead letters since 20"):
        _sink(sink)

    before = end_offset(sink)
    result = CliRunner().invoke(cli, ["replay", "--dead-letters"])
    assert result.exit_code == 0, result.output
    assert f"{COUNT} of {COUNT + 1} dead letters of the sink are in" in result.stderr
    assert "1 are no records" in result.stderr
    assert "not in Confluent's wire format" in result.stderr
    wait_for_sink(sink)
    completeness = landing_completeness(sink, lake)
    assert (completeness.missing, completeness.dead_lettered) == (0, 1)

    result = CliRunner().invoke(cli, ["replay", "--dead-letters", "--dismiss"])
    assert "0 of 1 dead letters" in result.stderr
    assert "were dismissed" in result.stderr
    assert end_offset(sink) == before + COUNT
    assert check_in_dagster().passed
    assert sink_state(sink) is SinkState.HEALTHY
    assert "RUNNING" in _sink(sink)


@pytest.mark.parametrize("arguments", [[], ["a.parquet", "--dead-letters"], ["a", "--dismiss"]])
def test_replay_takes_files_or_dead_letters(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["replay", *arguments]).exit_code == 2


@contextmanager
def registry_that_comes_late(settings: Settings) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the address of a proxy of the registry, and the function that starts it."""
    registry = settings.schema_registry_url.partition("/apis/")[0]

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(
                registry + self.path,
                headers={"Accept": "*/*", "Authorization": self.headers["Authorization"]},
                timeout=300,
            )
            self.send_response(answer.status_code)
            for name in answer.headers.keys() - {"content-encoding", "transfer-encoding"}:
                if name not in ("content-length", "connection"):
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy, bind_and_activate=False)
    server.server_bind()  # the port is taken, and refuses connections until `come`
    thread = Thread(target=server.serve_forever)
    path = settings.connect_registry_url.partition("://")[2].partition("/")[2]

    def come() -> None:
        server.server_activate()
        thread.start()

    yield f"http://127.0.0.1:{server.server_port}/{path}", come
    server.shutdown()
    thread.join()
    server.server_close()


def end_offset(settings: Settings) -> int:
    """Return the number of records that the topic ever got."""
    return sum(partition.end for partition in sink_progress(settings))
