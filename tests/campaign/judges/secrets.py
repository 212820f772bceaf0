"""Judge of Secrets: accepted peers, removed keys, and certificates."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tests.builders import OWN, Manifest
from tests.campaign.judges.declared import (
    History,
    View,
    identity_of,
    is_certified,
    wants_certificate,
)
from tests.oracle import Place as Identity
from troth.documents.secret_keys import IDENTITY_JSON, KEY, LEAF
from troth.pki.keys.private import load_private_key, same_key
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.resources.schema.scalars import parse_duration
from troth.world.observation import objects as observe

BACKDATE = timedelta(minutes=5)
EARLIEST_RENEWAL, LATEST_RENEWAL = 0.6, 2 / 3
"""Shares of a certificate's lifetime after which it may, and must, be renewed."""


def accepted_undeclared(
    history: History, before: Manifest | None, secret: Manifest
) -> Iterator[str]:
    """Yield the peers that a written document adds although no version declares them."""
    me = identity_of(secret)
    for name, port in accepted_peers(secret) - (accepted_peers(before) if before else set()):
        if not any(
            view.live(caller, me, port) and view.named(caller) == name
            for view in history.views()
            for caller in view.identities
        ):
            yield f"{me} accepts {name} on {port}, and nobody declares it"


def accepted_peers(secret: Manifest) -> set[tuple[str, str]]:
    try:
        document = json.loads(observe.decoded(secret)[IDENTITY_JSON])
    except (KeyError, ValueError):
        return set()
    return {
        (each["spiffeID"], port["name"]) for each in document["accepts"] for port in each["ports"]
    }


def removed_secret(history: History, secret: Manifest) -> Iterator[str]:
    """Yield a fault if a Secret was removed although every version declares its identity."""
    me, name = identity_of(secret), secret["metadata"]["name"]
    wants = _serves_webhooks if name == f"{me[1]}-webhook-signing" else is_certified
    if all(me in view.identities and wants(view.identities[me]) for view in history.views()):
        yield f"the Secret {name} of {me} was removed"


def _serves_webhooks(spec: Manifest) -> bool:
    return "servesWebhooks" in spec


def removed_keys(history: History, secret: Manifest) -> Iterator[str]:
    """Yield a fault if keys were removed although every version declares their trust domain."""
    name, _, part = secret["metadata"]["name"].rpartition("-")
    wanted = "authority" if part == "authority" else "tokens"
    if all(name in view.domains and wanted in view.domains[name] for view in history.views()):
        yield f"{part} of {name} was removed"


def reissued_early(
    history: History, objects: dict[Place, Manifest], before: Manifest, now: datetime
) -> Iterator[str]:
    """Yield a fault if a certificate was reissued although it was valid and no rotation was due."""
    me = identity_of(before)
    data = observe.decoded(before)
    leaf = leaf_in(data)
    if leaf is None:
        return
    issued_at = leaf.not_valid_before_utc + BACKDATE
    for rotation in history.rotations_of(me):
        asked = rotation.get("requestedAt")
        every = rotation.get("every")
        if asked and issued_at < datetime.fromisoformat(asked) <= now:
            return
        if every and issued_at + parse_duration(every) <= now:
            return
    wanted = [view for view in history.views() if wants_certificate(view, me)]
    lacks = (leaf_faults(leaf, me, view, objects, EARLIEST_RENEWAL) for view in wanted)
    if not any(fault for each in lacks for fault in each):
        yield f"the certificate of {me} was reissued although it was valid"


def leaf_in(data: dict[str, bytes]) -> x509.Certificate | None:
    """Return the certificate, if it parses and the key matches."""
    try:
        leaf = x509.load_pem_x509_certificate(data[LEAF])
        right = same_key(leaf, load_private_key(data[KEY]))
    except (ValueError, KeyError):
        return None
    return leaf if right else None


def leaf_faults(
    leaf: x509.Certificate,
    me: Identity,
    view: View,
    objects: dict[Place, Manifest],
    renewal: float,
) -> Iterator[str]:
    """Yield the faults of an identity's certificate.

    `renewal` is the share of its lifetime after which it is too old.
    """
    governor = view.governor(me[0]) or ""
    certificates = view.domains[governor].get("certificates", {})
    mtls = view.identities[me]["authentication"].get("mtls", {})
    lengths = [certificates.get("lifetime", "24h"), mtls.get("lifetime", "2160h")]
    issued_at, until = leaf.not_valid_before_utc + BACKDATE, leaf.not_valid_after_utc
    if sorted(names_of(leaf)) != sorted(view.names(me)):
        yield "its name"
    if until - issued_at > min(map(parse_duration, lengths)):
        yield "its lifetime"
    if view.now >= issued_at + (until - issued_at) * renewal:
        yield "its age"
    if not signed_by(leaf, authority_data(objects, governor)[LEAF]):
        yield "its root"


def authority_data(objects: dict[Place, Manifest], domain: str) -> dict[str, bytes]:
    return observe.decoded(objects["Secret", Ref(OWN, f"{domain}-authority")])


def names_of(leaf: x509.Certificate) -> list[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [*uris, *names.get_values_for_type(x509.DNSName)]


def signed_by(leaf: x509.Certificate, roots: bytes) -> bool:
    for root in x509.load_pem_x509_certificates(roots):
        with suppress(ValueError, InvalidSignature):
            leaf.verify_directly_issued_by(root)
            return True
    return False
