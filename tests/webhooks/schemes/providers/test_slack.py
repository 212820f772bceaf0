"""Slack: facts of verified bodies."""

import json

import pytest

from tests.webhooks.schemes.senders import NOW, SLACK, STAMP
from troth.webhooks.schemes.delivery import Reason
from troth.webhooks.schemes.scheme import Stamp


def question(challenge: object = "3eZbrw1aBm2rZgRNFdxV", kind: str = "url_verification") -> bytes:
    return json.dumps({"token": "t", "challenge": challenge, "type": kind}).encode()


def test_url_verification_is_answered_only_if_verified() -> None:
    """https://docs.slack.dev/reference/events/url_verification/"""
    sent = SLACK.sent(question())
    answer = SLACK.verified(sent).answer
    assert answer is not None
    assert json.loads(answer) == {"challenge": "3eZbrw1aBm2rZgRNFdxV"}
    forged = sent.with_headers([("x-slack-signature", "v0=" + "0" * 64)])
    assert SLACK.refusal(forged) is Reason.SIGNATURE_WRONG


@pytest.mark.parametrize(
    "body",
    [
        question(kind="event_callback"),
        question(challenge=""),
        question(challenge="x" * 257),
        question(challenge="<a>\n"),
        question(challenge={"a": 1}),
        b"[]",
        b"command=%2Fweather&text=94070",
    ],
)
def test_only_url_verification_is_answered(body: bytes) -> None:
    assert SLACK.verified(SLACK.sent(body)).answer is None


def test_event_has_the_id_of_its_retries() -> None:
    event = b'{"type": "event_callback", "event_id": "Ev123ABC456"}'
    for stamp in (STAMP, Stamp(NOW + 60, "other")):
        assert SLACK.verified(SLACK.sent(event, stamp)).delivery_id == "Ev123ABC456"
    assert SLACK.verified(SLACK.sent(b'{"event_id": 7}')).delivery_id is None
    assert SLACK.verified(SLACK.sent(b"text=94070")).delivery_id is None
