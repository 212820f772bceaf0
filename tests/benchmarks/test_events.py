"""The event benchmarks measure what they name."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from jsonschema_rs import validator_for

from benchmarks.events import edge, memory
from benchmarks.events.trade import (
    DATA_BYTES,
    ES256,
    SCHEMA,
    TOPIC,
    Trade,
    bare_check,
    order,
    seal,
)
from troth.edge.events.attributes import SEAL
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.event import Event
from troth.edge.events.seal import envelope


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return Trade.make(tmp_path)


@pytest.mark.parametrize("number", [0, 7, 123_456])
def test_order_is_valid_json_of_a_kilobyte(number: int) -> None:
    assert len(order(number)) == DATA_BYTES
    assert validator_for(json.dumps(SCHEMA)).is_valid(json.loads(order(number)))


def test_floor_rejects_what_the_schema_does_not_allow() -> None:
    bare_check()(order(1))
    with pytest.raises(AssertionError):
        bare_check()(order(1).replace(b'"quantity": 1', b'"quantity": 0'))


def test_floor_verifies_the_signature_of_the_seal(trade: Trade) -> None:
    sealed = seal(trade.sealer(), trade, order(1))
    found = envelope.read(sealed.attributes[SEAL])
    signed = envelope.signed_bytes(found.payload)
    public = trade.key.public_key()
    public.verify(found.signature, signed, ES256)
    with pytest.raises(InvalidSignature):
        public.verify(found.signature, signed + b" ", ES256)


def test_every_event_is_different_and_opens(trade: Trade) -> None:
    sealer, opener = trade.sealer(), trade.opener()
    many = [seal(sealer, trade, order(number)) for number in range(20)]
    assert len({each.attributes["id"] for each in many}) == len(many)
    assert len({each.attributes["trothtxn"] for each in many}) == len(many)
    for each in many:
        for message in (
            kafka.read(TOPIC, kafka.headers(each), each.data),
            nats.read(TOPIC, nats.headers(each), each.data),
        ):
            assert isinstance(opener.open(message), Event)


def test_reports_have_all_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROUNDS", 1), ("TIMES", 4)):
        monkeypatch.setattr(edge, name, value)
    (report,) = edge.reports()
    assert [row.aim for row in report.rows] == [1.6, 1.6, None, None, None, None]
    assert all(len(row.troth) == 4 for row in report.rows)
    assert report.figures[-1].value == 1


def test_memory_is_measured_after_each_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "EVENTS", 100)
    (report,) = memory.reports()
    assert [figure.what for figure in report.figures[:2]] == ["after 0 events", "after 10 events"]
    assert len(report.figures) == 12
