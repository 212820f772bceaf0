"""From the Secret with a credential at a broker to what may be known of it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from troth.resources.references import Ref
from troth.resources.scalars import parse_moment
from troth.trust.grants import Slot
from troth.world.broker_facts import CredentialSecret, Held
from troth.world.facts import Manifest
from troth.world.observe import decoded

TYPE = "troth.dev/broker-credential"
"""The `type` of a Secret with a credential at a broker."""
STATE = "troth.json"
"""What a Secret says of its credentials: which there are, in which slots, since when."""
DIGEST = "troth.dev/credential-digest"
PUBLIC = frozenset({"ca.crt", "bootstrap.servers", "servers", "inbox.prefix"})
LONGEST = 4096


def is_credential(secret: Manifest) -> bool:
    """Say whether a Secret is one with a credential at a broker."""
    return secret.get("type") == TYPE


def digest(data: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over all of a Secret's data, by which a change by hand is told."""
    whole = hashlib.sha256()
    for name in sorted(data):
        for part in (name.encode(), data[name]):
            whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()


def credential_secret(secret: Manifest) -> CredentialSecret:
    """Return the facts of a Secret with a credential at a broker."""
    data = decoded(secret)
    metadata = secret["metadata"]
    state = _state(data.get(STATE, b""))
    namespace, _, name = str(state.get("broker", "")).partition("/")
    current, upcoming, retiring = (
        _held(state.get(which)) for which in ("current", "next", "retiring")
    )
    annotations = metadata.get("annotations") or {}
    return CredentialSecret(
        ref=Ref.of(secret),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labels=metadata.get("labels") or {},
        owner_uids=frozenset(
            owner["uid"] for owner in metadata.get("ownerReferences") or [] if "uid" in owner
        ),
        broker=Ref(namespace, name) if namespace and name else None,
        principal=str(state.get("principal", "")),
        current=current,
        next=upcoming,
        retiring=retiring,
        intact=annotations.get(DIGEST) == digest(data) and current is not None,
        public={key: data[key].decode("utf-8", "replace") for key in PUBLIC & data.keys()},
    )


def _state(data: bytes) -> dict[str, Any]:
    try:
        state = json.loads(data) if len(data) <= LONGEST else None
    except (ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _held(entry: object) -> Held | None:
    if not isinstance(entry, dict):
        return None
    try:
        return Held(Slot(entry["slot"]), str(entry["fingerprint"]), parse_moment(entry["madeAt"]))
    except (KeyError, ValueError, PydanticCustomError):
        return None
