"""The redrive of a message: who had it delivered again, to which consumer, and after which review.

A reviewer's worker publishes a rejected message again, with all of its headers and data unchanged,
and one header more. This header has the redrive: the attributes of a sealed event without data, as
base64url of JSON. It names the message by a digest, so it is valid for no other one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from troth.edge.events.attributes import (
    CORE,
    LONGEST_REDRIVE,
    SEAL,
    SIGNED,
    SPEC_VERSION,
    fault_of,
    moment_of,
    write_time,
)
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.message import Message
from troth.pki.encodings import base64url, strict_json
from troth.pki.tokens.signing import is_text

TYPE: Final = "dev.troth.redrive.v1"
"""Value of the attribute `type` of a redrive."""

SIGNED_REDRIVE: Final = (
    *SIGNED,
    "trothletter",
    "trothevent",
    "trothproducer",
    "trothmessage",
    "trothorigintopic",
    "trothstored",
    "trothconsumer",
    "trothgroup",
    "trothredrives",
    "trothreview",
    "trothrequestedby",
    "trothapprovedby",
)
"""The signed extension attributes of a redrive."""

_CONTENT_TYPE = "application/octet-stream"
_NAMES = frozenset((*CORE, *SIGNED_REDRIVE, SEAL))
_MOST_REDRIVES = 1_000_000
_HEADERS = frozenset({kafka.REDRIVE_HEADER, nats.REDRIVE_HEADER})
_SERVER = "nats-"
"""Begin of the names of headers that are for the NATS server, such as the ID of a publication."""


@dataclass(frozen=True, slots=True)
class Redrive:
    """One delivery of a message after a review.

    `review` is `<namespace>/<name>` of the DeadLetterReview. `requested_by` is the user who
    requested it, and `approved_by` the one who approved it, None if it needed no approval. `count`
    is the number of redrives of the message, this one included. `id` is the same for each attempt.

    `letter` is the ID of the dead letter, and `message` the digest of its original message, whose
    event has the ID `event` of the workload `producer`. `origin_topic` is the topic that delivered
    the original, and `stored_at` the time at which the broker stored it there, in seconds since the
    epoch, None if the broker did not say. `consumer` is the SPIFFE ID of the workload that rejected
    it, with its group. `topic` is the topic to which the message is published again, and `time` the
    time at which that was done.
    """

    id: str
    review: str
    requested_by: str
    approved_by: str | None
    count: int
    letter: str
    event: str
    producer: str
    message: str
    origin_topic: str
    stored_at: float | None
    consumer: str
    group: str | None
    topic: str
    policy: str
    broker: str
    environment: str
    time: datetime


def redrive_id(uid: str, letter: str) -> str:
    """Return the ID of the redrive of a letter by the review with a UID, in base64url."""
    return base64url.encode(_digest([uid.encode(), letter.encode()]))


def original_headers(headers: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a message without any redrive."""
    return tuple((name, value) for name, value in headers if name not in _HEADERS)


def digest_of(message: Message) -> str:
    """Return the SHA-256 in base64url of the original headers and the data of a message.

    Each part is preceded by its length in eight bytes. Redrives do not count, nor do headers for
    the NATS server, which the worker replaces.
    """
    parts: list[bytes] = []
    for name, value in original_headers(message.headers):
        if not name.lower().startswith(_SERVER):
            parts += [name.encode("utf-8", "surrogateescape"), value]
    parts.append(message.data or b"")
    return base64url.encode(_digest(parts))


def attributes_of(redrive: Redrive, source: str) -> dict[str, str]:
    """Return the attributes of a redrive that a reviewer signs, except its chain and the seal."""
    attributes = {
        "id": redrive.id,
        "source": source,
        "specversion": SPEC_VERSION,
        "type": TYPE,
        "datacontenttype": _CONTENT_TYPE,
        "time": write_time(int(redrive.time.timestamp())),
        "trothpolicy": redrive.policy,
        "trothbroker": redrive.broker,
        "trothtopic": redrive.topic,
        "trothenvironment": redrive.environment,
        "trothletter": redrive.letter,
        "trothevent": redrive.event,
        "trothproducer": redrive.producer,
        "trothmessage": redrive.message,
        "trothorigintopic": redrive.origin_topic,
        "trothconsumer": redrive.consumer,
        "trothredrives": str(redrive.count),
        "trothreview": redrive.review,
        "trothrequestedby": redrive.requested_by,
    }
    if redrive.stored_at is not None:
        attributes["trothstored"] = write_time(int(redrive.stored_at))
    if redrive.group is not None:
        attributes["trothgroup"] = redrive.group
    if redrive.approved_by is not None:
        attributes["trothapprovedby"] = redrive.approved_by
    return attributes


def write(attributes: Mapping[str, str]) -> str:
    """Return sealed attributes as the value of the attribute `trothredrive`."""
    written = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return base64url.encode(written.encode())


def read(text: str) -> dict[str, str]:
    """Return the attributes of a redrive, whose seal is not verified.

    Raises `ValueError`, which quotes nothing, for everything that `write` does not return, and for
    attributes that a redrive does not have.
    """
    if len(text) > LONGEST_REDRIVE:
        raise ValueError("it is too long")
    found = strict_json.parse(base64url.decode(text))
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError("it is no list of attributes")
    attributes: dict[str, str] = found
    if not attributes.keys() <= _NAMES or SEAL not in attributes or _written(attributes) != text:
        raise ValueError("it is not in its only accepted form")
    if fault_of(attributes) is not None or attributes["type"] != TYPE:
        raise ValueError("an attribute of it is missing or malformed")
    return attributes


def parse(attributes: Mapping[str, str]) -> Redrive:
    """Return the redrive that attributes say; raises `ValueError`, which quotes nothing."""
    try:
        stored = attributes.get("trothstored")
        count = attributes["trothredrives"]
        approved_by = attributes.get("trothapprovedby")
        return Redrive(
            id=attributes["id"],
            review=attributes["trothreview"],
            requested_by=_user(attributes["trothrequestedby"]),
            approved_by=None if approved_by is None else _user(approved_by),
            count=_count(count),
            letter=attributes["trothletter"],
            event=attributes["trothevent"],
            producer=attributes["trothproducer"],
            message=attributes["trothmessage"],
            origin_topic=attributes["trothorigintopic"],
            stored_at=None if stored is None else moment_of(stored),
            consumer=attributes["trothconsumer"],
            group=attributes.get("trothgroup"),
            topic=attributes["trothtopic"],
            policy=attributes["trothpolicy"],
            broker=attributes["trothbroker"],
            environment=attributes["trothenvironment"],
            time=datetime.fromtimestamp(moment_of(attributes["time"]), UTC),
        )
    except (KeyError, ValueError):
        raise ValueError("an attribute of it is missing or malformed") from None


def _written(attributes: Mapping[str, str]) -> str:
    try:
        return write(attributes)
    except UnicodeEncodeError:  # JSON can write half of a surrogate pair
        raise ValueError("it is not text") from None


def _digest(parts: Iterable[bytes]) -> bytes:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8))
        hashed.update(part)
    return hashed.digest()


def _user(text: str) -> str:
    if not is_text(text):
        raise ValueError("not a name")
    return text


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or str(int(text[:20])) != text:
        raise ValueError("not a count")
    count = int(text)
    if not 1 <= count <= _MOST_REDRIVES:
        raise ValueError("not a count")
    return count
