"""Public parts of the keys in a Secret that sign tokens."""

import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from pydantic_core import PydanticCustomError

from troth.pki.errors import PKIError
from troth.pki.keys.jwk import load_public_jwk, public_jwk
from troth.pki.keys.parsing import LONGEST as LONGEST_KEY
from troth.pki.keys.private import load_private_key
from troth.resources.references import Ref
from troth.resources.schema.scalars import parse_moment
from troth.world.facts.objects import Fault, TokenKey
from troth.world.observation.secret_data import SecretData

_LONGEST = 1024
"""Maximum size of a public key as a JWK, and of a time, in bytes."""


@dataclass(frozen=True, slots=True)
class Slots:
    """Names in a Secret: of the active and the next key with their times of creation, and of the
    public part of the previous key.
    """

    active: str
    made: str
    prepared: str
    prepared_made: str
    retiring: str


ISSUERS = Slots("current.key", "current.made", "next.key", "next.made", "retiring.jwk")
GATEWAYS = Slots("key.pem", "key.made", "next.pem", "next.made", "retiring.jwk")


def signing_keys(data: SecretData, slots: Slots, ref: Ref) -> dict[str, Any]:
    """Return the members of `SigningSecret` for a Secret's data."""
    active = _token_key(data, slots.active, slots.made)
    prepared = _token_key(data, slots.prepared, slots.prepared_made)
    if prepared is not None and prepared.made_at is None:
        prepared = None
    retiring = _retiring(data, slots.retiring)
    halves = () if prepared else (slots.prepared, slots.prepared_made)
    before = () if retiring else (slots.retiring,)
    message = (
        f"{slots.active} is not a P-256 private key that can be read; delete Secret {ref}, and "
        "Troth creates another key"
    )
    return {
        "active": active,
        "fault": None if active else Fault("TokenKeyUnreadable", message),
        "prepared": prepared,
        "retiring": retiring,
        "spoilt": tuple(name for name in (*halves, *before) if name in data),
    }


def _token_key(data: SecretData, name: str, made: str) -> TokenKey | None:
    """Return the public part of a key, None if it is absent or cannot sign tokens."""
    if name not in data:
        return None
    try:
        key = load_private_key(data.value(name, LONGEST_KEY)).public_key()
        return (
            _as_token_key(key, data.value(made, _LONGEST))
            if isinstance(key, EllipticCurvePublicKey)
            else None
        )
    except PKIError:
        return None


def _retiring(data: SecretData, name: str) -> TokenKey | None:
    try:
        document = json.loads(data.value(name, _LONGEST))
        return _as_token_key(load_public_jwk(document)) if isinstance(document, dict) else None
    except (ValueError, RecursionError):  # PKIError is a ValueError
        return None


def _as_token_key(key: EllipticCurvePublicKey, made: bytes = b"") -> TokenKey:
    jwk = public_jwk(key)
    try:
        made_at = parse_moment(made.decode("ascii", "replace"))
    except PydanticCustomError:
        made_at = None
    return TokenKey(jwk["kid"], jwk["x"], jwk["y"], made_at)
