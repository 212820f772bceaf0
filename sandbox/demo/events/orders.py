"""Orders as checkout seals them, and as somebody with checkout's key forges them."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from time import time

from troth.edge.events.attributes import SEAL, SIGNED, write_time
from troth.edge.events.message import Sealed
from troth.edge.events.seal.producers import parse_chain
from troth.edge.events.seal.signer import CurrentSigner
from troth.edge.identity.files import Identity

TYPE = "shop.order.placed"
CONTEXT: Mapping[str, str] = {"subject": "alice", "tenant": "acme"}
CHAIN = "trothchain"


def order(number: str, *items: str) -> bytes:
    """Return the data of an order. One without items does not satisfy the policy's schema."""
    return json.dumps({"order": number} | ({"items": items} if items else {})).encode()


def forged(
    identity: Identity, genuine: Sealed, data: bytes | None = None, **changes: str | None
) -> Sealed:
    """Return another event, sealed with an identity's key without any check.

    It has the attributes of a genuine one, except those in `changes`; None removes one.
    """
    now = int(time())
    named = {"id": str(uuid.uuid4()), "time": write_time(now), **changes}
    attributes = {**genuine.attributes, **named}
    kept = {name: value for name, value in attributes.items() if value is not None and name != SEAL}
    return CurrentSigner().seal(identity.current, kept, data or genuine.data, SIGNED, now)


def unsealed(genuine: Sealed) -> Sealed:
    """Return an event without its seal."""
    return replace(
        genuine,
        attributes={name: each for name, each in genuine.attributes.items() if name != SEAL},
    )


def edited(genuine: Sealed, **changes: str) -> Sealed:
    """Return an event with other attributes and the same seal."""
    return replace(genuine, attributes={**genuine.attributes, **changes})


def first_second(genuine: Sealed) -> str:
    """Return the first time at which all certificates of the event's producer are valid."""
    chain = parse_chain(genuine.attributes[CHAIN])
    begin = max(each.not_valid_before_utc for each in chain)
    return write_time(int(begin.timestamp()))
