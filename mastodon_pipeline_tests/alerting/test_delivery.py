"""Delivery to real receivers on loopback, over HTTP and SMTP, and to those that do not answer."""

import os

import pytest

from mastodon_pipeline.alerting.delivery import Batch, Delivery, deliver
from mastodon_pipeline.alerting.rules import Message
from mastodon_pipeline_tests.support.receiving import mailbox, webhook

pytestmark = pytest.mark.thorough

BEGAN = Message("began", "the sink is failed", "Why: <b>x</b> {{y}} ${z} *ü*\nWhat to do: wait.")
OVER = Message("over", "over: the sink is failed", "It lasted.")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_webhook_receives_each_message_in_order_as_plain_text() -> None:
    with webhook() as receiver:
        [delivery] = deliver([Batch(f"json://{receiver.address}/hook", [BEGAN, OVER])])
    assert delivery == Delivery("JSON", accepted=2, error="")
    assert receiver.titles == [BEGAN.title, OVER.title]
    assert [message["type"] for message in receiver.messages] == ["failure", "success"]
    assert receiver.messages[0]["message"] == BEGAN.body


def test_mail_arrives_over_smtp() -> None:
    with mailbox() as (address, mails):
        url = f"mailto://{address}?from=pipeline@a.example&to=me@b.example,you@b.example"
        [delivery] = deliver([Batch(url, [BEGAN])])
    assert delivery == Delivery("E-Mail", accepted=1, error="")
    assert {mail["To"] for mail in mails} == {"me@b.example", "you@b.example"}
    assert mails[0]["Subject"] == f"mastodon_pipeline: {BEGAN.title}"
    assert mails[0].get_content().splitlines()[:2] == BEGAN.body.splitlines()


def test_one_target_that_is_away_does_not_keep_others_waiting() -> None:
    with webhook() as refusing, webhook() as silent, webhook() as working:
        refusing.status = 404
        silent.silent.set()
        deliveries = deliver(
            [
                Batch(f"json://{refusing.address}", [BEGAN, OVER]),
                Batch(f"json://{silent.address}?rto=60", [BEGAN]),
                Batch("json://127.0.0.1:1", [BEGAN]),
                Batch("carrier-pigeon://a.example", [BEGAN]),
                Batch(f"json://{working.address}", [BEGAN]),
            ],
            deadline_seconds=20,
        )
    assert deliveries == [
        Delivery("JSON", 0, "it answered with HTTP 404"),
        Delivery("", 0, "it did not answer within 20 s"),
        Delivery("JSON", 0, "it cannot be reached"),
        Delivery("", 0, "it is no URL that Apprise can use"),
        Delivery("JSON", 1, ""),
    ]
    assert refusing.refused == 1, "the second message waits behind the first"


def test_url_is_in_no_output_argument_or_representation(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with webhook() as receiver:
        receiver.status = 500
        batches = [
            Batch(f"json://user:a-secret@{receiver.address}/a-secret?+Token=a-secret", [BEGAN]),
            Batch("json://127.0.0.1:1/a-secret", [BEGAN]),
            Batch("slack://a-secret", [BEGAN]),
            Batch("a-secret", [BEGAN]),
        ]
        deliveries = deliver(batches)
        assert receiver.paths == ["/a-secret"]
    output = capfd.readouterr()
    assert "a-secret" not in f"{deliveries} {batches} {output.out} {output.err} {caplog.text}"
    assert not os.environ.get("ALERT_URLS")
