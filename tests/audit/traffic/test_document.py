"""Traffic is saved and read without a loss, and a document that is not one is rejected."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.traffic import document
from troth.audit.traffic.document import (
    UnreadableTrafficError,
    read_traffic,
    traffic_document,
)
from troth.resources.references import Ref

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
WEB = Endpoint(Object("Deployment", Ref("shop", "web")))
FLOW = Flow(WEB, Endpoint(None, "203.0.113.9"), 443, "TCP", 3, NOON, NOON, "conntrack")
TRAFFIC = Traffic((FLOW,), NOON, ("node-2: away",), frozenset({"192.0.2.2"}))


def test_document_is_read_as_it_was_written() -> None:
    for traffic in (TRAFFIC, Traffic()):
        assert read_traffic(json.dumps(traffic_document(traffic)).encode()) == traffic


def edited(**members: Any) -> Any:
    written = traffic_document(TRAFFIC)
    return written | members


def with_flow(**members: Any) -> Any:
    written = traffic_document(TRAFFIC)
    return written | {"flows": [written["flows"][0] | members]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "format"),
        (edited(format="other"), "format"),
        (edited(more=1), "unknown member"),
        (edited(flows={}), "flows"),
        (edited(blind="x"), "blind"),
        (edited(blind=[1]), "since, blind or nodes"),
        (edited(nodes=["x"]), "since, blind or nodes"),
        (edited(since="yesterday"), "since, blind or nodes"),
        (edited(flows=[1]), r"flows\[0\]"),
        (with_flow(port=70000), r"flows\[0\]: write a port"),
        (with_flow(connections=0), r"flows\[0\]: connections"),
        (with_flow(protocol="ICMP"), r"flows\[0\]: protocol"),
        (with_flow(seenBy="rumour"), r"flows\[0\]: seenBy"),
        (with_flow(seenBy="broker"), r"flows\[0\]: seenBy"),
        (with_flow(source={"address": "x"}), r"flows\[0\]"),
        (with_flow(source={"address": "192.0.2.1", "kind": "Pod"}), r"flows\[0\]: an end"),
        (with_flow(firstSeen="2026-11-28T13:00:00Z"), "firstSeen is after lastSeen"),
        (with_flow(extra=1), r"flows\[0\]: write the members"),
    ],
)
def test_document_that_is_not_traffic_is_rejected(content: Any, says: str) -> None:
    with pytest.raises(UnreadableTrafficError, match=says):
        read_traffic(json.dumps(content).encode())


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
def test_text_that_is_not_json_is_rejected(raw: bytes) -> None:
    with pytest.raises(UnreadableTrafficError, match="not JSON"):
        read_traffic(raw)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MOST_FLOWS", 0)
    with pytest.raises(UnreadableTrafficError, match="at most 0 flows"):
        read_traffic(json.dumps(traffic_document(TRAFFIC)).encode())
    monkeypatch.setattr(document, "LARGEST", 10)
    with pytest.raises(UnreadableTrafficError, match="larger than"):
        read_traffic(b" " * 11)
