"""Log line and metrics of each delivery; other requests are only counted."""

import asyncio

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from troth.webhooks.gateway.decisions import Decision, Decisions


async def log_lines(decisions: Decisions, *these: tuple[Decision, float]) -> list[EventDict]:
    """The lines about these."""
    with capture_logs() as logs:
        for decision, seconds in these:
            decisions.record(decision, seconds)
        assert logs == []
        await asyncio.sleep(0)
    return list(logs)


async def test_deliveries_are_counted_by_endpoint_answer_and_reason() -> None:
    decisions = Decisions()
    refused = Decision("shop/a", "GitHub", status=401, reason="signature-wrong")
    await log_lines(decisions, *[(refused, 0.002)] * 3, (Decision("shop/a", status=200), 0.3))
    text = generate_latest(decisions.registry).decode()
    labels = 'endpoint="shop/a",reason="signature-wrong",status="401"'
    assert f"troth_gateway_deliveries_total{{{labels}}} 3.0" in text
    assert 'troth_gateway_delivery_seconds_count{endpoint="shop/a"} 4.0' in text


async def test_deleted_endpoint_leaves_no_metrics() -> None:
    decisions = Decisions()
    told_of = [
        (Decision(name, "GitHub", status=status), 0.002)
        for status in (401, 200)
        for name in ("shop/a", "shop/b")
    ]
    await log_lines(decisions, *told_of)
    decisions.forget("shop/a")
    decisions.forget("shop/never-there")
    text = generate_latest(decisions.registry).decode()
    assert "shop/a" not in text
    assert text.count('troth_gateway_deliveries_total{endpoint="shop/b"') == 2
    await log_lines(decisions, (Decision("shop/a", "GitHub", status=200), 0.002))
    text = generate_latest(decisions.registry).decode()
    assert 'troth_gateway_delivery_seconds_count{endpoint="shop/a"} 1.0' in text


async def test_request_without_endpoint_is_counted_but_not_logged() -> None:
    decisions = Decisions()
    assert await log_lines(decisions, (Decision(status=404, reason="unknown-path"), 0.001)) == []
    text = generate_latest(decisions.registry).decode()
    assert '{endpoint="",reason="unknown-path",status="404"} 1.0' in text


async def test_each_delivery_is_logged_once_in_order() -> None:
    decisions = Decisions()
    numbered = [(Decision("shop/a", delivery_id=str(n)), 0.001) for n in range(5)]
    lines = await log_lines(decisions, *numbered[:3]) + await log_lines(decisions, *numbered[3:])
    assert [line["delivery_id"] for line in lines] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "x" * 257])
async def test_delivery_id_is_logged_if_it_is_a_short_text(name: str) -> None:
    named = [Decision("shop/a", delivery_id=each) for each in (name, "msg_1")]
    lines = await log_lines(Decisions(), *((each, 0.001) for each in named))
    assert [line["delivery_id"] for line in lines] == ["", "msg_1"]


def test_common_warning_is_logged_rarely() -> None:
    now = 50.0
    decisions = Decisions(clock=lambda: now)
    with capture_logs() as logs:
        for _ in range(100):
            decisions.warn("replay store unavailable", "away")
        now += 10
        decisions.warn("replay store unavailable", "still away")
        decisions.warn("another", "thing")
    assert [line["why"] for line in logs] == ["away", "still away", "thing"]
