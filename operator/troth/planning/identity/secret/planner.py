"""The part of an identity's Secret: its certificate, and the document with its peers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from troth.pki.certificates.leaf import Leaf, short
from troth.pki.spiffe import spiffe_id
from troth.planning import faults, verdicts
from troth.planning.certificates.leaf import leaf_due
from troth.planning.identity.facts import View
from troth.planning.identity.secret.certificate import leaf_part
from troth.planning.identity.secret.manifest import (
    overflows,
    without_growth,
)
from troth.planning.identity.secret.updates import TYPE, SecretPart, as_declared, document_alone
from troth.planning.owned_objects import is_child, rechecks, secret_ref
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.conditions import Truth, Verdict
from troth.resources.identity.status import CertificateStatus
from troth.trust.declarations.narrowing import NOTHING, Narrowing
from troth.world.facts.objects import KnownAuthority

UNKNOWN = Narrowing(every_caller=True)
"""Narrowing of a document that cannot be compared with what is declared: it may grant anything."""


def _unknown(_: Exception, view: View, verdict: Verdict) -> SecretPart:
    stands = view.secret is not None and view.certificate is not None
    return SecretPart((verdict,), narrowing=UNKNOWN if stands else NOTHING)


@fails_closed(_unknown)
def plan_document(view: View, verdict: Verdict) -> SecretPart:
    """Return the part with only the document planned, for a certificate that cannot be planned.

    `verdict` is the certificate's condition. The existing certificate stays.
    """
    if view.certificate is None:
        return SecretPart((verdict,))
    view = as_declared(view)
    if overflows(view):
        view = without_growth(view)
    return document_alone(view, verdict)


def _with_document_only(error: Exception, view: View) -> SecretPart:
    return plan_document(view, faults.verdict(TYPE, error))


@fails_closed(_with_document_only)
def plan_certificate(view: View) -> SecretPart:
    """Return the condition of the certificate, and the steps to issue it or update its Secret.

    If the declared peers do not fit into the Secret, revocations take effect and no peer is added.
    """
    if view.errors:  # what the certificate is made of is incomplete
        return _with_document_only(view.errors[0], view)
    view = as_declared(view)
    if not overflows(view):
        return leaf_part(view)
    part = leaf_part(without_growth(view))
    if part.verdicts[0].status is not Truth.TRUE:
        return part
    message = (
        f"the peers of this identity do not fit into Secret {secret_ref(view.identity.ref)}, so "
        "revocations take effect but new peers do not; divide the workload over several "
        "identities, or remove edges (see docs/limits.md)"
    )
    return replace(part, verdicts=(verdicts.false(TYPE, "TooManyPeers", message),))


@fails_closed(unplanned())
def plan_renewal(view: View) -> Part:
    """Return when the certificate is due, and what the status says of it."""
    mine = view.secret if view.secret is not None and is_child(view.secret, view.identity) else None
    leaf = mine.leaf if mine is not None and view.certificate is not None else None
    return Part(dues=tuple(_dues(view, leaf)), status=_fields(view, leaf))


def _dues(view: View, leaf: Leaf | None) -> Iterator[datetime]:
    if leaf is not None:
        yield _renewal(view, leaf)
    if view.reissue_wait > timedelta(0):
        yield view.moment.now + view.reissue_wait
    yield from rechecks(view.owned_secret)
    if view.known_authority is not None and view.known_authority.authority is not None:
        yield view.known_authority.authority.not_before
        yield view.known_authority.authority.not_after


def _renewal(view: View, leaf: Leaf) -> datetime:
    return leaf_due(leaf, view.identity.metadata.uid, view.rotations, view.moment.now)


def _fields(view: View, leaf: Leaf | None) -> Mapping[str, Any]:
    ref, account = view.identity.ref, view.identity.spec.workload.service_account_name
    has_id = view.domain is not None and view.certificate is not None
    domain = view.domain.spec.domain if view.domain is not None else ""
    return {
        "spiffe_id": spiffe_id(domain, ref.namespace, account) if has_id else None,
        "certificate": _certificate_status(view, leaf) if leaf is not None else None,
    }


def _certificate_status(view: View, leaf: Leaf) -> CertificateStatus:
    return CertificateStatus(
        fingerprint=short(leaf.fingerprint),
        serial=leaf.serial,
        not_after=leaf.not_after,
        renew_at=_renewal(view, leaf),
        authority=_issuer(view.known_authority, leaf),
    )


def _issuer(known: KnownAuthority | None, leaf: Leaf) -> str:
    """Return the short fingerprint of the authority that signed a leaf, or `unknown`."""
    for slot in (known.authority, known.retiring) if known else ():
        if slot is not None and slot.issued(leaf):
            return short(slot.fingerprint)
    return "unknown"
