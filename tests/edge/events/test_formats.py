"""Events whose data is Avro or Protobuf."""

import json
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from tests.descriptor_sets import descriptor_set, file, message
from tests.edge.events.trade import Trade, delivered, digest
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.events.sealing import SealingError

AVRO = (
    '{"fields":[{"name":"sku","type":"string"},{"name":"quantity","type":"int"}],'
    '"name":"Order","type":"record"}'
)
FILES = descriptor_set(
    file(message("Order", "string sku = 1"), message("Refund", "string sku = 1"))
)
SKU = b"\x0a\x03A-1"  # field 1 of 3 bytes


def avro() -> dict[str, Any]:
    return {"type": "Avro", "digest": digest(AVRO), "text": AVRO}


def protobuf(name: str) -> dict[str, Any]:
    return {"type": "Protobuf", "digest": digest(FILES), "text": FILES, "message": f"shop.{name}"}


def written(value: dict[str, Any]) -> bytes:
    data = BytesIO()
    schemaless_writer(data, parse_schema(json.loads(AVRO)), value)
    return data.getvalue()


def test_avro_data_is_validated_at_both_edges(trade: Trade) -> None:
    trade.publish(schemas=[avro()])
    trade.consume(schemas=[avro()])
    data = written({"sku": "A-1", "quantity": 2})
    event = trade.open(delivered(trade.seal(data, content_type="application/avro")))
    assert isinstance(event, Event)
    assert event.payload == {"sku": "A-1", "quantity": 2}
    with pytest.raises(SealingError, match="SchemaInvalid"):
        trade.seal(data + b"\x00", content_type="application/avro")


def test_protobuf_data_is_validated_at_both_edges(trade: Trade) -> None:
    trade.publish(schemas=[protobuf("Order")])
    trade.consume(schemas=[protobuf("Order")])
    event = trade.open(delivered(trade.seal(SKU, content_type="application/protobuf")))
    assert isinstance(event, Event)
    assert event.payload.sku == "A-1"
    with pytest.raises(SealingError, match="SchemaInvalid"):
        trade.seal(b"\xff", content_type="application/protobuf")


def test_another_message_of_the_same_files_is_another_schema(trade: Trade) -> None:
    trade.publish(schemas=[protobuf("Order")])
    sealed = trade.seal(SKU, content_type="application/protobuf")
    trade.consume(schemas=[protobuf("Refund")])
    opened = trade.open(delivered(sealed))
    assert isinstance(opened, Rejection)
    assert opened.reason is Reason.SCHEMA_UNKNOWN
    trade.consume(schemas=[protobuf("Refund"), protobuf("Order")])
    assert isinstance(trade.open(delivered(sealed)), Event)
