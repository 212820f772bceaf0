"""Facts of a Secret with a credential at a broker.

`troth.json` describes its credentials. It comes from a Secret, so it is parsed as untrusted input.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic_core import PydanticCustomError

from troth.brokers import registry
from troth.brokers.protocol import CredentialRequest
from troth.documents.secret_keys import ROOTS
from troth.pki.encodings import strict_json
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time, parse_moment
from troth.trust.grants import Slot
from troth.world.facts.broker import CredentialSecret, SlotCredential
from troth.world.facts.objects import Manifest
from troth.world.observation.objects import fact_of
from troth.world.observation.secret_data import SecretData

TYPE = "troth.dev/broker-credential"
"""`type` of a Secret with a credential at a broker."""
STATE = "troth.json"
"""Member that describes the Secret's credentials: their slots and times of creation."""
DIGEST = "troth.dev/credential-digest"
ACCOUNT = "account"
"""Key of the separate part of the servers that holds the principal, if there is one."""
LONGEST = 4096
"""Maximum size of `troth.json` in bytes; Troth writes less than a third of it."""

Which = Literal["current", "next", "retiring"]

_MEMBERS = frozenset({"broker", "principal"})
_PLACES = frozenset({"current", "next", "retiring"})
_NAME = 512  # characters; a principal has at most 381
_FINGERPRINT = 64


@dataclass(frozen=True, slots=True)
class State:
    """Content of `troth.json`: broker, principal and credentials."""

    broker: Ref
    principal: str
    current: SlotCredential
    next: SlotCredential | None = None
    retiring: SlotCredential | None = None

    @property
    def held(self) -> dict[Which, SlotCredential]:
        """The existing credentials, by role."""
        each: dict[Which, SlotCredential | None] = {
            "current": self.current,
            "next": self.next,
            "retiring": self.retiring,
        }
        return {which: held for which, held in each.items() if held is not None}

    def text(self) -> str:
        """Return the text of `troth.json`; `read_state` is the inverse."""
        document: dict[str, object] = {"broker": str(self.broker), "principal": self.principal}
        document |= {which: _document(each) for which, each in self.held.items()}
        return json.dumps(document, indent=2)


def is_credential(secret: Manifest) -> bool:
    """Return whether a Secret has a credential at a broker."""
    return secret.get("type") == TYPE


def written_at(secret: Manifest) -> datetime:
    """Return the time of the last write of a Secret's data, as far as the API server records it."""
    metadata = secret["metadata"]
    times = [
        each.get("time")
        for each in metadata.get("managedFields") or ()
        if "f:data" in (each.get("fieldsV1") or {})
    ]
    told = [
        datetime.fromisoformat(each) for each in (*times, metadata.get("creationTimestamp")) if each
    ]
    return max(told, default=datetime.fromtimestamp(0, UTC))


def digest(data: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of a Secret's data, with which drift is detected."""
    whole = hashlib.sha256()
    for name in sorted(data):
        for part in (name.encode(), data[name]):
            whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def public_keys() -> frozenset[str]:
    """Return the keys of a Secret's data that are public, of whichever broker."""
    return registry.public_keys() | {ROOTS, ACCOUNT}


def public_data(request: CredentialRequest) -> dict[str, str]:
    """Return the part of a Secret's data that is public, as its facts have it once it is written.

    Raises `ValueError` for a principal that the broker would misread, and `UnsupportedError`.
    """
    said = {
        ROOTS: request.authorities,
        ACCOUNT: request.account,
        **registry.dialect_of(request.type).public_data(request),
    }
    return {key: text for key, text in said.items() if text}


def credential_secret(secret: Manifest) -> CredentialSecret:
    """Return the facts of a Secret with a credential at a broker."""
    read = SecretData(secret)
    try:
        state = None if read.has_too_many else read_state(read.value(STATE, LONGEST))
    except ValueError:
        state = None
    data = dict(read.items()) if state is not None else {}
    annotations = secret["metadata"].get("annotations") or {}
    intact = state is not None and annotations.get(DIGEST) == digest(data)
    return CredentialSecret(
        **fact_of(secret),
        broker=state.broker if state else None,
        principal=state.principal if state else "",
        current=state.current if state else None,
        next=state.next if state else None,
        retiring=state.retiring if state else None,
        intact=intact,
        # What somebody else wrote is replaced, and may be large.
        public={key: data[key].decode() for key in public_keys() & data.keys()} if intact else {},
    )


def read_state(text: bytes) -> State:
    """Return the content of `troth.json`; raises `ValueError`, which quotes nothing of it."""
    document = strict_json.parse(text) if len(text) <= LONGEST else None
    if not isinstance(document, dict) or not _MEMBERS <= document.keys() <= _MEMBERS | _PLACES:
        raise ValueError(f"{STATE} does not have the form that Troth writes")
    current = _held(document.get("current"))
    upcoming, retiring = _held(document.get("next")), _held(document.get("retiring"))
    others = [each for each in (upcoming, retiring) if each is not None]
    # The current credential has one slot, so the next or previous one must have the other.
    if current is None or len(others) > 1 or any(each.slot is current.slot for each in others):
        raise ValueError(f"{STATE} names an impossible combination of credentials")
    broker, principal = _text(document["broker"], _NAME), _text(document["principal"], _NAME)
    namespace, slash, name = broker.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ValueError(f"{STATE} does not name a broker")
    return State(Ref(namespace, name), principal, current, upcoming, retiring)


def _held(entry: object) -> SlotCredential | None:
    if entry is None:
        return None
    if not isinstance(entry, dict) or entry.keys() != {"slot", "fingerprint", "madeAt"}:
        raise ValueError(f"{STATE} has an invalid credential")
    fingerprint = _text(entry["fingerprint"], _FINGERPRINT)
    try:
        made_at = parse_moment(entry["madeAt"])
    except (PydanticCustomError, ValueError, OverflowError):
        raise ValueError(f"{STATE} has a credential without a valid time") from None
    slot = next((slot for slot in Slot if slot == entry["slot"]), None)
    if slot is None:
        raise ValueError(f"{STATE} has a credential without a valid slot")
    return SlotCredential(slot, fingerprint, made_at)


def _document(held: SlotCredential) -> dict[str, str]:
    return {
        "slot": held.slot,
        "fingerprint": held.fingerprint,
        "madeAt": format_time(held.made_at),
    }


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise ValueError(f"{STATE} has an invalid text")
    return value
