"""Fuzz targets of opening events, one function each. Each takes any bytes, and fails by an error.

An input of a message is in lines: a header each, `name=value`; an empty line; then the data. A
header without `=` has no value.
"""

import json
import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from jsonschema_rs import validator_for

from tests.edge.events.reviews import Desk, accepting
from tests.edge.events.trade import (
    BROKER,
    CHECKOUT,
    NOW,
    POLICY,
    SCHEMA,
    TOPIC,
    Trade,
    leaf,
)
from tests.edge.mounts import SVID, transaction_token
from troth.edge.events import redrive as redrives
from troth.edge.events.attributes import CORE, REDRIVE, SEAL, SIGNED
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import RejectedError, Rejection
from troth.edge.events.seal import envelope
from troth.edge.events.seal.producers import parse_chain
from troth.edge.events.seal.signatures import Sign, Verify, signer, verifier
from troth.edge.identity.files import Identity
from troth.pki.keys.private import generate_key, load_private_key
from troth.resources.algorithms import KeyAlgorithm

BY_TOKEN = {"require": ["Actor", "Subject", "Tenant"], "evidence": "TransactionToken"}
WEEK = 604800
_LONGEST_SENTENCE = 400
_SIGNED_BYTES = b"signed"

Headers = list[tuple[str, bytes | None]]


class Scene(NamedTuple):
    """Consumers, sealed events that they open, and the producer's key.

    `redriven` has the headers of messages that a review delivers again.
    """

    openers: Sequence[Opener]
    sealed: Sequence[Sealed]
    own: SVID
    sign: Sign
    redriven: Sequence[tuple[Headers, bytes]]


@cache
def scene() -> Scene:
    """Return checkout and two consumers: one believes producers, the other needs tokens."""
    with tempfile.TemporaryDirectory() as folder:
        trade = Trade(Path(folder))
        own = leaf(CHECKOUT)
        sealed, openers = [], []
        for context in (None, BY_TOKEN):
            changed = {"context": context} if context else {}
            trade.publish(own, **changed)
            accepting(trade, retry=False, **changed)
            openers.append(_opener(trade))
            sealed += _events(trade, by_token=context is not None)
        desk = Desk(trade, Path(folder))
        redriven = [_redriven(desk, each) for each in sealed]
    return Scene(openers, sealed, own, signer(load_private_key(own.key)), redriven)


def _redriven(desk: Desk, sealed: Sealed) -> tuple[Headers, bytes]:
    message = desk.redriven(
        kafka.read(TOPIC, [*kafka.headers(sealed)], sealed.data, stored_at=NOW), target=TOPIC
    )
    return [*message.headers], sealed.data


def _opener(trade: Trade) -> Opener:
    """Return an opener that reads the files once."""
    files = trade.fulfilment
    identity = Identity(files.identity.path, files.bundle.path, clock=lambda: 0.0)
    assert identity.current
    return Opener(identity, POLICY, clock=trade.clock)


def _events(trade: Trade, *, by_token: bool) -> list[Sealed]:
    if by_token:
        token = transaction_token(now=datetime.fromtimestamp(NOW, UTC))
        return [trade.seal(transaction=token)]
    full: dict[str, Any] = {"tenant": "Bäckerei 5 %", "subject": "customer-42", "about": "order/7"}
    return [trade.seal(), trade.seal(b'{"sku":"B-2","quantity":1}', request_id="r-1", **full)]


def write(headers: Headers, data: bytes) -> bytes:
    """Return the input of a message."""
    lines = [name.encode() + (b"" if value is None else b"=" + value) for name, value in headers]
    return b"\n".join([*lines, b"", data])


def read(text: bytes) -> tuple[Headers, bytes]:
    """Return the headers and the data of an input."""
    head, _, data = text.partition(b"\n\n")
    headers: Headers = []
    for line in head.split(b"\n"):
        name, equals, value = line.partition(b"=")
        headers.append((name.decode("utf-8", "replace"), value if equals else None))
    return headers, data


# Messages of anybody


def by_kafka(text: bytes) -> None:
    """No record opens except the sealed ones."""
    headers, data = read(text)
    message = kafka.read(TOPIC, headers, data, stored_at=NOW)
    for opener in scene().openers:
        _is_sealed(opener.open(message), message)


def by_nats(text: bytes) -> None:
    """No NATS message opens except the sealed ones."""
    headers, data = read(text)
    many: dict[str, list[str]] = {}
    for name, value in headers:
        many.setdefault(name, []).append((value or b"").decode("utf-8", "surrogateescape"))
    message = nats.read(TOPIC, many, data, stored_at=NOW)
    for opener in scene().openers:
        _is_sealed(opener.open(message), message)


def _is_sealed(opened: Event | Rejection, message: Message) -> None:
    if isinstance(opened, Rejection):
        _is_sentence(opened)
        return
    content = _content(message.attributes, message.data)
    assert content in [_content(each.attributes, each.data) for each in scene().sealed]


def _content(attributes: Mapping[str, str], data: bytes | None) -> tuple[object, ...]:
    return (data, *(attributes.get(name) for name in (*CORE, *SIGNED, SEAL)))


def _is_sentence(rejection: Rejection) -> None:
    assert rejection.detail.isprintable()
    assert len(rejection.detail) < _LONGEST_SENTENCE


def redrive(text: bytes) -> None:
    """A redrive has one form, and no consumer accepts another one than the reviewer's."""
    given = text.decode("utf-8", "replace")
    with suppress(ValueError):
        assert redrives.write(redrives.read(given)) == given
    for headers, data in scene().redriven:
        own = [text if name == kafka.REDRIVE_HEADER else value for name, value in headers]
        names = [name for name, _ in headers]
        message = kafka.read(TOPIC, list(zip(names, own, strict=True)), data, stored_at=NOW)
        for opener in scene().openers:
            opened = opener.open(message)
            if isinstance(opened, Rejection):
                _is_sentence(opened)
            else:
                assert (kafka.REDRIVE_HEADER, text) in headers


# Messages of a producer


def by_producer(text: bytes) -> None:
    """Whatever a producer seals, an event is only what the policy allows."""
    headers, data = read(text)
    read_ = kafka.read(TOPIC, headers, data, stored_at=NOW)
    attributes = dict(read_.attributes)
    payload = envelope.material(attributes, data)
    signature = scene().sign(envelope.signed_bytes(payload))
    attributes[SEAL] = envelope.write(payload, signature, scene().own.thumbprint)
    message = Message(TOPIC, attributes, data, stored_at=NOW, fault=read_.fault)
    for opener in scene().openers:
        opened = opener.open(message)
        if isinstance(opened, Rejection):
            _is_sentence(opened)
        else:
            _is_allowed(opened, attributes)


def _is_allowed(event: Event, attributes: Mapping[str, str]) -> None:
    assert event.actor == attributes["source"] == CHECKOUT
    assert event.topic == attributes["trothtopic"] == TOPIC
    assert event.policy == attributes["trothpolicy"] == POLICY
    assert attributes["trothbroker"] == BROKER
    assert attributes["trothenvironment"] == "prod"
    assert -300 <= NOW - event.time.timestamp() <= 300  # the broker stored it now
    assert (event.subject, event.tenant, event.request_id) == tuple(
        map(attributes.get, ("authid", "trothtenant", "trothtxn"))
    )
    assert validator_for(SCHEMA).is_valid(json.loads(event.data))


# Parts


def seal(text: bytes) -> None:
    """A seal has one form, and both readers agree on it."""
    given = text.decode("utf-8", "replace")
    expected = envelope.material({}, b"")
    try:
        found = envelope.read(given)
    except ValueError:
        with pytest.raises(ValueError, match="seal"):
            envelope.read_sealed(given, expected)
        return
    assert envelope.write(*found) == given
    assert envelope.read_sealed(given, found.payload) == found
    assert envelope.read_sealed(given, expected) == (found if found.payload == expected else None)


def chain(text: bytes) -> None:
    """A chain has one form."""
    given = text.decode("utf-8", "replace")
    try:
        found = parse_chain(given)
    except RejectedError as error:
        _is_sentence(error.rejection)
        return
    ders = [each.public_bytes(Encoding.DER) for each in found]
    assert ".".join(b64encode(each).decode() for each in ders) == given


def signature(text: bytes) -> None:
    """Only the signature that was made is valid. The first byte chooses the algorithm."""
    every = list(signatures())
    verify, made = every[(text[0] if text else 0) % len(every)]
    assert verify(text[1:], _SIGNED_BYTES) is (text[1:] == made)


@cache
def signatures() -> Sequence[tuple[Verify, bytes]]:
    """Return one signature by a key of each algorithm, and what verifies it."""
    keys = [generate_key(each) for each in KeyAlgorithm]
    return [(verifier(each.public_key()), signer(each)(_SIGNED_BYTES)) for each in keys]


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "kafka": by_kafka,
    "nats": by_nats,
    "redrive": redrive,
    "producer": by_producer,
    "seal": seal,
    "chain": chain,
    "signature": signature,
}

WORDS = [
    *(f"\nce_{name}=".encode() for name in (*CORE, *SIGNED, SEAL, REDRIVE)),
    *(f"\nce-{name}=".encode() for name in (*CORE, *SIGNED, SEAL, REDRIVE)),
    *(
        b"\ncontent-type=",
        b"\n\n",
        b"application/json",
        b"2026-11-28T12:00:01Z",
        b"acme",
        b"globex",
    ),
    *(b'"sku"', b'"quantity"', b'":0', b"spiffe://prod.shop.example/ns/shop/sa/other", b"%C3%A4"),
    *(b"MI", b"==", b".", b"\x30\x45\x02\x20", b"\x02\x21\x00", POLICY.encode(), BROKER.encode()),
]
"""What mutated inputs may contain."""


@cache  # a signature differs every time
def seeds(target: str) -> list[bytes]:
    """Good inputs of a target, to begin with."""
    sealed = scene().sealed
    match target:
        case "kafka" | "producer":
            first = [write([*kafka.headers(each)], each.data) for each in sealed]
            return first + [write(headers, data) for headers, data in scene().redriven]
        case "redrive":
            return [dict(headers)[kafka.REDRIVE_HEADER] or b"" for headers, _ in scene().redriven]
        case "nats":
            return [
                write([(k, v.encode()) for k, v in nats.headers(each).items()], each.data)
                for each in sealed
            ]
        case "seal":
            own = envelope.material({}, b"")
            empty = envelope.write(own, scene().sign(own), scene().own.thumbprint)
            return [empty.encode(), *(each.attributes[SEAL].encode() for each in sealed)]
        case "chain":
            text = sealed[0].attributes["trothchain"].encode()
            return [text, text + b"." + text]
        case _:
            return [bytes((place,)) + made for place, (_, made) in enumerate(signatures())]
