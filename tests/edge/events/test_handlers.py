"""A handler gets the event, and the payload as its model parsed it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tests.edge.events.consumer import Consumer
from tests.edge.events.trade import NOW, POLICY, Trade, delivered
from troth.edge.events.consumption.flow import Outcome
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason, RejectedError


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sku: str
    quantity: int = Field(le=10)


@handler(policy=POLICY, model=Order)
def place(order: Order, event: Event) -> str:
    """Place an order."""
    return f"{order.quantity} of {order.sku} by {event.actor}"


@handler(policy=POLICY, group="prod.audit")
async def audit(event: Event) -> str:
    return event.id


def received(payload: Any = None, data: bytes = b"{}") -> Event:
    return Event(
        id="1",
        type="t",
        actor="spiffe://d/a",
        subject=None,
        tenant=None,
        request_id=None,
        time=datetime.fromtimestamp(NOW, UTC),
        topic="t",
        policy=POLICY,
        about=None,
        content_type="application/json",
        data=data,
        payload=payload,
    )


def test_payload_is_parsed_by_the_model() -> None:
    arguments = place.prepare(received({"sku": "A-1", "quantity": 2}))
    assert place.handle(arguments) == "2 of A-1 by spiffe://d/a"


def test_data_without_a_schema_is_parsed_as_json() -> None:
    order, _ = place.prepare(received(data=b'{"sku":"A-1","quantity":2}'))
    assert order == Order(sku="A-1", quantity=2)


async def test_handler_without_a_model_gets_the_event() -> None:
    event = received()
    assert audit.prepare(event) == (event,)
    assert await audit.handle((event,)) == "1"


def test_decorated_function_stays_callable() -> None:
    assert place(Order(sku="A-1", quantity=1), received()) == "1 of A-1 by spiffe://d/a"
    assert place.__doc__ == "Place an order."
    assert (place.policy, place.group, place.is_async) == (POLICY, None, False)
    assert (audit.group, audit.is_async) == ("prod.audit", True)


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ({"sku": "A-1", "quantity": 4111}, "at quantity (less_than_equal)"),
        ({"sku": "A-1", "quantity": 1, "4111 1111": 1}, "Order (extra_forbidden)"),
        ([4111], "Order (model_type)"),
    ],
)
def test_rejected_payload_is_named_without_its_content(payload: Any, detail: str) -> None:
    with pytest.raises(RejectedError) as rejected:
        place.prepare(received(payload))
    assert rejected.value.rejection.reason is Reason.SCHEMA_INVALID
    assert detail in rejected.value.rejection.detail
    assert "4111" not in rejected.value.rejection.detail


@pytest.mark.parametrize("error", [KeyError("4111"), AttributeError("4111"), RecursionError()])
def test_payload_at_which_a_validator_fails_is_rejected(error: Exception) -> None:
    def fail(_: Any) -> Any:
        raise error

    @handler(policy=POLICY, model=Annotated[dict[str, Any], AfterValidator(fail)])
    def strict(order: dict[str, Any], event: Event) -> None: ...

    with pytest.raises(RejectedError) as rejected:
        strict.prepare(received({}))
    assert rejected.value.rejection.reason is Reason.SCHEMA_INVALID
    raised = f"the payload's model raised {type(error).__name__}"
    assert rejected.value.rejection.detail == raised


def test_data_that_is_not_json_is_rejected() -> None:
    with pytest.raises(RejectedError):
        place.prepare(replace(received(), data=b"\xff"))


def test_event_that_the_model_rejects_goes_to_the_dead_letter_topic(trade: Trade) -> None:
    consumer = Consumer(trade, prepare=place.prepare)
    consumed = consumer.consume(delivered(trade.seal(b'{"sku":"A-1","quantity":11}')))
    assert consumed.outcome is Outcome.DEAD_LETTERED
    assert consumer.letters[0]["trothreason"] == "SchemaInvalid"
    assert not consumer.handled
