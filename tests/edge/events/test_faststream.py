"""How FastStream's messages are sealed, without a broker."""

from typing import Any

import pytest
from fast_depends.pydantic import PydanticSerializer
from faststream.kafka.response import KafkaPublishCommand
from faststream.response.publish_type import PublishType
from pydantic import BaseModel

from tests.edge.events.trade import ORDER, TOPIC, Trade, delivered
from troth.edge.events.adapters.faststream.events import attributes, seal, unsealed_headers
from troth.edge.events.event import Event

SERIALIZER = PydanticSerializer()


class Order(BaseModel):
    sku: str
    quantity: int


def command(
    body: Any = ORDER,
    *more: Any,
    headers: dict[str, str] | None = None,
    kind: PublishType = PublishType.PUBLISH,
    **options: Any,
) -> KafkaPublishCommand:
    given = attributes("shop.order.placed") if headers is None else headers
    return KafkaPublishCommand(
        body, *more, topic=TOPIC, headers=given, _publish_type=kind, **options
    )


def test_model_is_sealed_as_json_with_its_attributes(trade: Trade) -> None:
    headers = attributes("shop.order.placed", tenant="acme", subject="customer-42")
    sealed = seal(
        trade.sealer(), command(Order(sku="A-1", quantity=2), headers=headers), SERIALIZER
    )
    event = trade.open(delivered(sealed))
    assert isinstance(event, Event)
    assert (event.type, event.tenant, event.subject) == ("shop.order.placed", "acme", "customer-42")
    assert event.payload == {"sku": "A-1", "quantity": 2}
    assert event.content_type == "application/json"


def test_headers_about_the_seal_are_not_published() -> None:
    headers = {"x-trace": "1"} | attributes("shop.order.placed", tenant="acme")
    assert unsealed_headers(command(headers=headers)) == {"x-trace": "1"}


def test_option_that_no_event_has_is_rejected() -> None:
    with pytest.raises(TypeError, match="topic"):
        attributes("shop.order.placed", topic="elsewhere")


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (command(headers={}), "no type"),
        (command(ORDER, ORDER), "batch"),
        (command(reply_to="answers"), "replies"),
        (command(kind=PublishType.REQUEST), "requests"),
        (command(kind=PublishType.REPLY), "replies"),
    ],
)
def test_message_that_cannot_be_sealed_is_rejected(
    trade: Trade, faulty: KafkaPublishCommand, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        seal(trade.sealer(), faulty, SERIALIZER)
