"""Vectors of events, and Troth's verdicts on them."""

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from tests.edge import mounts
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import Rejection
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot
from website.generated import EVENT_VECTORS

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Fixed:
    """An identity that always has the same files."""

    current: Snapshot


def committed() -> Document:
    """Return the vectors in docs/reference."""
    return cast("Document", json.loads(EVENT_VECTORS.read_text()))


def verdicts(document: Document) -> Iterator[tuple[str, Event | Rejection]]:
    """Yield the name of each vector, and what Troth opens of it."""
    for vector in document["vectors"]:
        yield vector["name"], opener(document, vector).open(message(vector))


def opener(document: Document, vector: Mapping[str, Any]) -> Opener:
    """Return an opener with the identity and the clock of a vector."""
    now = float(vector.get("now", document["now"]))
    identity = cast("Identity", Fixed(snapshot(document, vector)))
    return Opener(identity, document["entry"]["policy"], clock=lambda: now)


def snapshot(document: Document, vector: Mapping[str, Any]) -> Snapshot:
    patch = vector.get("entry", {})
    entry = merged(document["entry"], patch) if patch is not None else None
    identity = document["identity"]
    found = mounts.snapshot(
        bundles=vector.get("bundles", document["bundles"]),
        messages=[entry] if entry is not None else [],
        accepts=[],
        **identity,
    )
    return replace(found, spiffe_id=identity["spiffeID"])


def message(vector: Mapping[str, Any]) -> Message:
    """Return the message of a vector, as its binding reads it."""
    pairs = [(name, octets(value)) for name, value in vector["headers"]]
    pairs += [(f"x-{i}", b"x") for i in range(vector.get("otherHeaders", 0))]
    data, stored = octets(vector["data"]), vector.get("storedAt")
    if vector["binding"] == "Kafka":
        return kafka.read(vector["topic"], pairs, data, stored_at=stored)
    headers: dict[str, list[str]] = {}
    for name, value in pairs:
        headers.setdefault(name, []).append((value or b"").decode("utf-8", "surrogateescape"))
    assert data is not None, "NATS has no message without data"
    return nats.read(vector["topic"], headers, data, stored_at=stored)


def octets(value: Any) -> bytes | None:
    """Return bytes that a vector gives as a text, in base64, or as a text that is repeated."""
    if value is None or isinstance(value, str):
        return value.encode() if value is not None else None
    if "base64" in value:
        return b64decode(value["base64"])
    return cast("bytes", value["repeat"].encode() * value["times"])


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    members = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            members.pop(name, None)
        else:
            members[name] = merged(members.get(name), value)
    return members


def verdict(opened: Event | Rejection) -> str:
    return "Accepted" if isinstance(opened, Event) else opened.reason


def attributes(event: Event) -> dict[str, str]:
    """Return the attributes that an event shows."""
    shown = {
        "id": event.id,
        "type": event.type,
        "source": event.actor,
        "authid": event.subject,
        "trothtenant": event.tenant,
        "trothtxn": event.request_id,
        "time": event.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "trothtopic": event.topic,
        "trothpolicy": event.policy,
        "subject": event.about,
        "datacontenttype": event.content_type,
    }
    return {name: value for name, value in shown.items() if value is not None}
