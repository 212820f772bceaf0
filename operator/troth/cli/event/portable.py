"""The portable form of a broker's message: JSON that commands and people can hand on.

`topic` is the topic or subject, `binding` says how to read the headers. `headers` are pairs of name
and value, in their order; a value is base64, or null for a header without one. `data` is base64, or
null for a message without data, such as a tombstone. `storedAt` is the time of the broker,
`partition` and `offset` the place in the topic or the stream.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from troth.cli.inputs.single import fault
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.message import Message, Sealed
from troth.pki.encodings import strict_json
from troth.resources.faults import FaultyManifests, faults_of
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.schema.model import spelled

LIMIT = 64 * 1024 * 1024
"""Maximum size of a message in its portable form, in bytes."""

Binding = Literal["kafka", "nats"]
Headers = Sequence[tuple[str, bytes | None]]

_MOST_OFFSET = 2**63 - 1
_Place = Annotated[int, Field(strict=True, ge=0, le=_MOST_OFFSET)]
_EPOCH = datetime.fromtimestamp(0, UTC)


_UNSUPPORTED = "has no binding for events; only Kafka and NATS have one"


class NotAMessageError(ValueError):
    """The input is no message in its portable form. The text quotes nothing of it."""


class _Portable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=spelled)

    topic: Annotated[str, Field(min_length=1)]
    binding: Binding
    headers: list[tuple[str, str | None]]
    data: str | None
    stored_at: str | None = None
    partition: _Place | None = None
    offset: _Place | None = None


def read(text: bytes) -> Message:
    """Parse a message in its portable form.

    Raises `NotAMessageError` if it is not JSON in this form, and `FaultyManifests`, which names the
    fields, for an invalid field. What its headers contain is not checked: `Message.fault` says so.
    """
    try:
        value = strict_json.parse(text)
    except ValueError as error:
        raise NotAMessageError(f"{error}; give the form that `troth event seal` prints") from None
    if not isinstance(value, dict):
        raise NotAMessageError("not an object; give the form that `troth event seal` prints")
    try:
        portable = _Portable.model_validate(value)
    except ValidationError as error:
        # a value may be part of an event
        faults = [replace(each, value="") for each in faults_of(error, "", "the message")]
        raise FaultyManifests(faults) from None
    headers = [
        (_text(name, "the name of a header"), None if each is None else _bytes(each, "a header"))
        for name, each in portable.headers
    ]
    return message(
        portable.binding,
        _text(portable.topic, "topic"),
        headers,
        None if portable.data is None else _bytes(portable.data, "data"),
        stored_at=None if portable.stored_at is None else _seconds(portable.stored_at),
        partition=portable.partition,
        offset=portable.offset,
    )


def message(
    binding: Binding,
    topic: str,
    headers: Headers,
    data: bytes | None,
    *,
    stored_at: float | None = None,
    partition: int | None = None,
    offset: int | None = None,
) -> Message:
    """Return a broker's message as the binding reads it."""
    if binding == "kafka":
        return kafka.read(
            topic, headers, data, stored_at=stored_at, partition=partition, offset=offset
        )
    by_name: dict[str, list[str]] = {}
    for name, value in headers:
        by_name.setdefault(name, []).append((value or b"").decode("utf-8", "surrogateescape"))
    return nats.read(topic, by_name, data or b"", stored_at=stored_at, sequence=offset)


def document(message: Message, binding: Binding) -> dict[str, Any]:
    """Return a received message in its portable form."""
    places = {
        "storedAt": None if message.stored_at is None else _time(message.stored_at),
        "partition": message.partition,
        "offset": message.offset,
    }
    return _written(message.topic, binding, message.headers, message.data) | {
        name: each for name, each in places.items() if each is not None
    }


def sealed_document(sealed: Sealed, binding: Binding) -> dict[str, Any]:
    """Return a sealed event in its portable form."""
    if binding == "kafka":
        headers = kafka.headers(sealed)
    else:
        headers = [(name, value.encode()) for name, value in nats.headers(sealed).items()]
    return _written(sealed.topic, binding, headers, sealed.data)


def binding_of(type_: BrokerType) -> Binding:
    """Return the binding of a type of broker; raises `FaultyManifests` if it has none."""
    if type_ is BrokerType.KAFKA:
        return "kafka"
    if type_ is BrokerType.NATS:
        return "nats"
    raise fault("", f"a broker of the type {type_.value} {_UNSUPPORTED}")


def _written(topic: str, binding: Binding, headers: Headers, data: bytes | None) -> dict[str, Any]:
    return {
        "topic": topic,
        "binding": binding,
        "headers": [
            [name, None if value is None else b64encode(value).decode()] for name, value in headers
        ],
        "data": None if data is None else b64encode(data).decode(),
    }


def _bytes(text: str, what: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (Error, ValueError):
        raise NotAMessageError(f"{what} is not base64") from None


def _text(text: str, what: str) -> str:
    # JSON can write half of a surrogate pair, which is no text
    if not text.isprintable() and any("\ud800" <= each <= "\udfff" for each in text):
        raise NotAMessageError(f"{what} is not Unicode text")
    return text


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("without a zone")  # noqa: TRY301 - the one way out
        return (moment - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        raise NotAMessageError("storedAt is not a time such as 2026-11-28T12:00:00.250Z") from None


def _time(seconds: float) -> str:
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
