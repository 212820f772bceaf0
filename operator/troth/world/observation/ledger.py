"""The ledger of a broker, stored in a ConfigMap.

It is in Troth's own namespace, where only administrators of Troth can write: with write access to
it, anybody could make Troth remove foreign rules.
"""

import base64
import binascii
import gzip
import zlib
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from pydantic_core import to_json

from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.resources.schema.bounded_json import read_json
from troth.resources.schema.scalars import format_time, parse_moment
from troth.trust.grants import Rule, Slot
from troth.world.facts.broker import IssuedAdmin, Ledger, StoredLedger
from troth.world.facts.objects import MANAGED_BY, OWNER_KIND, OWNER_NAME, Fault, Manifest

PREFIX = "troth-ledger-"
FILE = "ledger.json.gz"
LONGEST = 64 * 1024 * 1024
"""Maximum size of an unpacked ledger in bytes, against decompression bombs."""
MOST = 900_000
"""Maximum size of a packed ledger to which Troth adds, in bytes. A ConfigMap holds 1 MiB.

The rest is for namespaces within their share, and for what must never wait: next credentials of
principals that the ledger has, marks of rules that stay, and the admin's credential.
"""
MOST_SHARED = 940_000
"""Maximum size of a packed ledger to which Troth adds for namespaces within their share."""
MOST_ROTATING = 980_000
"""Maximum size of a packed ledger to which Troth adds next credentials, in bytes."""
ALWAYS_FIT = 500
"""Number of rules and credentials that fit whatever their names, so that they are not packed."""
_FIELDS = ("principal", "kind", "pattern", "name", "operation", "effect", "host")
_fields = attrgetter(*_FIELDS)


def ledger_ref(own_namespace: str, broker: Ref) -> Ref:
    """Return the ConfigMap with the ledger of a broker. The name of a namespace has no dot."""
    return Ref(own_namespace, f"{PREFIX}{broker.namespace}.{broker.name}")


def broker_of(ledger: Ref) -> Ref | None:
    """Return the broker whose ledger has this name, None if it is not a ledger's name."""
    namespace, dot, name = ledger.name.removeprefix(PREFIX).partition(".")
    return Ref(namespace, name) if dot and ledger.name.startswith(PREFIX) else None


@dataclass(frozen=True, slots=True)
class Packed:
    """Ledger with its stored form, so that Troth does not unpack what it packed itself."""

    text: str = field(repr=False)
    ledger: Ledger

    @classmethod
    def of(cls, ledger: Ledger) -> "Packed":
        """Return a ledger in packed form."""
        return cls(base64.b64encode(packed(ledger)).decode(), ledger)


def ledger_manifest(
    own_namespace: str, broker: MessageBroker, ledger: Ledger, made: Packed | None = None
) -> Manifest:
    """Return the ConfigMap of a ledger, deterministically; `made` is its packed form, if known."""
    ref = ledger_ref(own_namespace, broker.ref)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {
                MANAGED_BY: "troth",
                OWNER_KIND: broker.kind,
                OWNER_NAME: broker.metadata.name,
            },
        },
        "binaryData": {FILE: (made or Packed.of(ledger)).text},
    }


def packed(ledger: Ledger) -> bytes:
    """Return a ledger as compressed JSON, with sorted rules."""
    return _compressed(_text(ledger))


def fits(ledger: Ledger, most: int) -> bool:
    """Return whether a ledger has at most `most` bytes in its ConfigMap."""
    rows = len(ledger.rules) + len(ledger.credentials) + len(ledger.left)
    if rows <= ALWAYS_FIT:
        return True
    text = _text(ledger)
    return len(text) <= most or (len(text) <= LONGEST and len(_compressed(text)) <= most)


def _compressed(text: bytes) -> bytes:
    return gzip.compress(text, 6, mtime=0)


def _text(ledger: Ledger) -> bytes:
    document: dict[str, Any] = {
        "version": 1,
        # sorted as rows, because comparing rules takes several times as long
        "rules": sorted((*_fields(rule), rule in ledger.retained) for rule in ledger.rules),
        "credentials": [
            [principal, slot, fingerprint]
            for (principal, slot), fingerprint in sorted(ledger.credentials.items())
        ],
    }
    if ledger.left:
        document["left"] = sorted(map(_fields, ledger.left))
    if ledger.admin is not None:
        document["admin"] = _admin_document(ledger.admin)
    return to_json(document)


def kept_ledger(manifest: Manifest, known: Packed | None = None) -> StoredLedger:
    """Return the facts of a ledger's ConfigMap; with `known` it is unpacked only if it changed."""
    metadata = manifest["metadata"]
    ledger, fault, size = Ledger(), None, 0
    try:
        data = (manifest.get("binaryData") or {}).get(FILE, "")
        size = len(data) * 3 // 4
        if known is not None and data == known.text:
            ledger = known.ledger
        else:
            ledger = unpacked(base64.b64decode(data, validate=True))
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        ref = Ref.of(manifest)
        message = (
            f"the ledger in ConfigMap {ref} cannot be read, so nothing is removed at the broker "
            "until it is restored or deleted"
        )
        fault = Fault("LedgerUnreadable", message)
    return StoredLedger(
        ref=Ref.of(manifest),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labels=metadata.get("labels") or {},
        owner_uids=(),
        ledger=ledger,
        fault=fault,
        leaving="deletionTimestamp" in metadata,
        size=size,
    )


def unpacked(data: bytes) -> Ledger:
    """Return an unpacked ledger; raises `ValueError`, `TypeError` or `KeyError`."""
    try:
        inflater = zlib.decompressobj(wbits=31)
        text = inflater.decompress(data, LONGEST)
    except zlib.error:
        raise ValueError("not a compressed ledger") from None
    if not inflater.eof:
        raise ValueError("truncated, or too long")
    document = read_json(text, LONGEST)
    rules = {_rule(row[:-1]): row[-1] is True for row in document["rules"]}
    return Ledger(
        frozenset(rules),
        frozenset(rule for rule, retained in rules.items() if retained),
        {(str(row[0]), Slot(row[1])): str(row[2]) for row in document["credentials"]},
        _admin(document["admin"]) if "admin" in document else None,
        frozenset(map(_rule, document.get("left", []))),
    )


def _admin_document(admin: IssuedAdmin) -> dict[str, Any]:
    user, slot = admin.place
    return {
        "user": user,
        "slot": slot,
        "fingerprint": admin.fingerprint,
        "madeAt": format_time(admin.made_at),
        "replaces": admin.replaces,
    }


def _admin(document: dict[str, Any]) -> IssuedAdmin:
    return IssuedAdmin(
        (str(document["user"]), Slot(document["slot"])),
        str(document["fingerprint"]),
        parse_moment(document["madeAt"]),
        replaces=document["replaces"] is not False,
    )


def _rule(row: list[Any]) -> Rule:
    if len(row) != len(_FIELDS) or not all(isinstance(each, str) for each in row):
        raise ValueError("not a rule")
    return Rule(*row)
