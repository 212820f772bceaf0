"""Events in the form of docs/events.md, and vectors that hold them."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from website.event_vectors import scene
from website.event_vectors.certificates import Made
from website.event_vectors.keys import sign

PAYLOAD_TYPE = "https://cloudevents.io/verifiability/dsse/v0.1"
CORE = (
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
)
SIGNED = (
    "trothpolicy",
    "trothbroker",
    "trothtopic",
    "trothenvironment",
    "authtype",
    "authid",
    "trothtenant",
    "trothtxn",
    "trothtxntoken",
    "trothchain",
)
_PLAIN = set(range(0x21, 0x7F)) - set(b'"%')
UNSHOWN = frozenset({"trothchain", "trothtxntoken"})

Octets = str | dict[str, Any] | None
"""Bytes as the file has them."""


@dataclass(frozen=True, slots=True)
class Event:
    """Attributes, the seal included, and data."""

    attributes: Mapping[str, str]
    data: bytes

    def edited(self, **attributes: str | None) -> "Event":
        """Return the event with other attributes; None removes one. The seal is not made again."""
        mixed: dict[str, str | None] = {**self.attributes, **attributes}
        return replace(self, attributes={k: v for k, v in mixed.items() if v is not None})

    def with_data(self, data: bytes) -> "Event":
        """Return the event with other data. The seal is not made again."""
        return replace(self, data=data)


def written_time(seconds: int) -> str:
    """Return a time as an event has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unsealed(by: Made = scene.PRODUCER, /, **changed: str | None) -> dict[str, str]:
    """Return the attributes of an order; None removes one."""
    valid = {
        "id": "c3f0b4f6-5d0f-4f0e-9d0a-3d1e5f7a9b01",
        "source": scene.CHECKOUT,
        "specversion": "1.0",
        "type": "shop.order.placed",
        "datacontenttype": "application/json",
        "dataschema": scene.data_schema(),
        "time": written_time(scene.EVENT_TIME),
        "trothpolicy": scene.POLICY,
        "trothbroker": scene.BROKER,
        "trothtopic": scene.TOPIC,
        "trothenvironment": "prod",
        "trothchain": by.chain,
    }
    mixed: dict[str, str | None] = {**valid, **changed}
    return {name: value for name, value in mixed.items() if value is not None}


def with_data(data: bytes, /, **changed: str | None) -> Event:
    """Return a sealed event with other data."""
    return event(scene.PRODUCER, data, **changed)


def event(by: Made = scene.PRODUCER, data: bytes = scene.ORDER, /, **changed: str | None) -> Event:
    """Return a sealed order."""
    attributes = unsealed(by, **changed)
    return Event({**attributes, "dssematerial": seal(attributes, data, by)}, data)


def payload(attributes: Mapping[str, str], data: bytes, names: Sequence[str] = SIGNED) -> bytes:
    """Return the payload of an event's seal."""

    def digest(values: Sequence[bytes]) -> str:
        parts = b"".join(sha256(each).digest() for each in values)
        return b64encode(sha256(parts).digest()).decode()

    core = digest([*(attributes.get(name, "").encode() for name in CORE), data])
    ext = digest([attributes.get(name, "").encode() for name in names])
    listed = ",".join(f'"{name}"' for name in names)
    return f'{{"core":"{core}","ext":"{ext}","signedextattrs":[{listed}]}}'.encode()


def to_sign(signed: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Return the bytes to sign for a payload (DSSE, pre-authentication encoding)."""
    return f"DSSEv1 {len(payload_type)} {payload_type} {len(signed)} ".encode() + signed


def envelope(
    signed: bytes,
    signature: bytes,
    key_id: str,
    form: str = '{"payload":"%(payload)s","payloadType":"%(type)s","signatures":[%(signature)s]}',
    item: str = '{"keyid":"%(keyid)s","sig":"%(sig)s"}',
) -> str:
    """Return `dssematerial`, of a form that a vector may change."""
    signature_text = item % {"keyid": key_id, "sig": b64encode(signature).decode()}
    text = form % {
        "payload": b64encode(signed).decode(),
        "type": PAYLOAD_TYPE,
        "signature": signature_text,
    }
    return b64encode(text.encode()).decode()


def seal(attributes: Mapping[str, str], data: bytes, by: Made) -> str:
    """Return the seal of an event."""
    signed = payload(attributes, data)
    return envelope(signed, sign(by.key, to_sign(signed)), by.key_id)


def kafka_headers(attributes: Mapping[str, str]) -> list[tuple[str, Octets]]:
    """Return the headers of a Kafka record."""
    return [
        ("content-type" if name == "datacontenttype" else f"ce_{name}", value)
        for name, value in attributes.items()
    ]


def nats_headers(attributes: Mapping[str, str]) -> list[tuple[str, Octets]]:
    """Return the headers of a NATS message."""
    return [(f"ce-{name}", _percent_encoded(value)) for name, value in attributes.items()]


def octets(value: bytes) -> Octets:
    """Return bytes as the file has them: text if they are UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector. `changed` are its other members, such as `now`."""

    name: str
    rule: str
    verdict: str
    headers: Sequence[tuple[str, Octets]]
    data: Octets
    binding: str = "Kafka"
    topic: str = scene.TOPIC
    changed: Mapping[str, Any] = field(default_factory=dict)
    event: Mapping[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """Return the vector as the file has it."""
        members: dict[str, Any] = {
            "name": self.name,
            "rule": self.rule,
            "binding": self.binding,
            "topic": self.topic,
            "headers": [list(each) for each in self.headers],
            "data": self.data,
            **self.changed,
            "verdict": self.verdict,
        }
        return members | ({"event": dict(self.event)} if self.event is not None else {})

    def named(self, name: str, rule: str, **changed: Any) -> "Vector":  # noqa: ANN401 - JSON is anything
        """Return the vector for another rule."""
        return replace(self, name=name, rule=rule, changed={**self.changed, **changed})

    def with_binding(self, binding: str) -> "Vector":
        """Return the vector as another broker would deliver the same headers."""
        return replace(self, binding=binding)

    def with_headers(self, *headers: tuple[str, Octets], without: str = "") -> "Vector":
        """Return the vector with more headers, and without those of one name."""
        kept = [each for each in self.headers if each[0] != without]
        return replace(self, headers=[*kept, *headers])


def vector(
    name: str,
    rule: str,
    verdict: str,
    message: Event | None = None,
    *,
    binding: str = "Kafka",
    topic: str = scene.TOPIC,
    **changed: Any,  # noqa: ANN401 - JSON is anything
) -> Vector:
    """Return a vector of an event, by default a valid order. `changed` may have `data`."""
    sent = event() if message is None else message
    headers = (kafka_headers if binding == "Kafka" else nats_headers)(sent.attributes)
    data = changed.pop("data", octets(sent.data))
    shown = {n: v for n, v in sent.attributes.items() if n in {*CORE, *SIGNED} - UNSHOWN}
    accepted = shown if verdict == "Accepted" else None
    return Vector(name, rule, verdict, headers, data, binding, topic, changed, accepted)


def _percent_encoded(value: str) -> str:
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in value.encode())
