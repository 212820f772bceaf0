"""Messages for the tests of `troth event`, in the form that the command reads."""

import json
from typing import Any

from tests.cli.running import Ended, troth
from tests.edge.events.trade import Trade
from troth.cli.event.portable import Binding, document, sealed_document
from troth.edge.events.bindings import kafka
from troth.edge.events.message import Message, Sealed


def portable(sealed: Sealed, binding: Binding = "kafka", **changed: Any) -> bytes:
    """Return a sealed event as JSON; `changed` are other members."""
    return json.dumps(sealed_document(sealed, binding) | changed).encode()


def received(message: Message, binding: Binding = "kafka") -> bytes:
    return json.dumps(document(message, binding)).encode()


def mounts(trade: Trade) -> tuple[str, ...]:
    """Return the options for the consumer's mounts."""
    files = trade.fulfilment
    return ("--identity", str(files.identity.path), "--bundle", str(files.bundle.path))


def event(trade: Trade, command: str, given: bytes, *more: str) -> Ended:
    """Run a command of the consumer at the time of the trade."""
    return troth("event", command, *mounts(trade), "--at", str(int(trade.now)), *more, given=given)


def told(ended: Ended) -> dict[str, Any]:
    """Return the JSON that a command printed; its exit code says the same."""
    document: dict[str, Any] = json.loads(ended.output)
    assert ended.code == (0 if document["accepted"] else 1), ended
    return document


def headers(sealed: Sealed, **changed: bytes | None) -> list[tuple[str, bytes | None]]:
    """Return the headers of an event at Kafka; `changed` are those with another value."""
    return [(name, changed.get(name, value)) for name, value in kafka.headers(sealed)]
