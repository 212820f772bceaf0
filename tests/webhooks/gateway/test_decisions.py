"""A line and a number for each delivery, and for what is none a number only."""

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from troth.webhooks.gateway.decisions import Decision, Decisions


def test_deliveries_are_counted_by_endpoint_answer_and_reason() -> None:
    decisions = Decisions()
    for _ in range(3):
        decisions.tell(Decision("shop/a", "GitHub", status=401, reason="signature-wrong"), 0.002)
    decisions.tell(Decision("shop/a", "GitHub", status=200), 0.3)
    text = generate_latest(decisions.registry).decode()
    labels = 'endpoint="shop/a",reason="signature-wrong",status="401"'
    assert f"troth_gateway_deliveries_total{{{labels}}} 3.0" in text
    assert 'troth_gateway_delivery_seconds_count{endpoint="shop/a"} 4.0' in text


def test_what_came_to_no_endpoint_is_counted_and_fills_no_log() -> None:
    decisions = Decisions()
    with capture_logs() as logs:
        decisions.tell(Decision(status=404, reason="unknown-path"), 0.001)
    assert logs == []
    text = generate_latest(decisions.registry).decode()
    assert '{endpoint="",reason="unknown-path",status="404"} 1.0' in text


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "x" * 257])
def test_what_a_sender_calls_a_delivery_is_logged_if_it_is_a_short_text(name: str) -> None:
    with capture_logs() as logs:
        Decisions().tell(Decision("shop/a", delivery_id=name), 0.001)
        Decisions().tell(Decision("shop/a", delivery_id="msg_1"), 0.001)
    assert [line["delivery_id"] for line in logs] == ["", "msg_1"]


def test_what_many_deliveries_have_in_common_is_told_seldom() -> None:
    now = 50.0
    decisions = Decisions(clock=lambda: now)
    with capture_logs() as logs:
        for _ in range(100):
            decisions.warn("replay store unavailable", "away")
        now += 10
        decisions.warn("replay store unavailable", "still away")
        decisions.warn("another", "thing")
    assert [line["why"] for line in logs] == ["away", "still away", "thing"]
