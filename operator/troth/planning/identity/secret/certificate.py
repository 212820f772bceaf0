"""The certificate layer of an identity's plan: its Secret with leaf, roots and document."""

from dataclasses import replace
from datetime import timedelta

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.issuing import LeafProfile
from troth.pki.certificates.subjects import Subject
from troth.pki.spiffe import spiffe_id
from troth.planning import status as verdicts
from troth.planning.certificates.anchors import bundle_text, roots_in
from troth.planning.certificates.leaf import LeafCandidate, lifetime_fault, why_issue
from troth.planning.identity.claims import dns_name_fault
from troth.planning.identity.facts import View
from troth.planning.identity.layer import Layer, removal, unwritten
from troth.planning.identity.secret.document import current_document
from troth.planning.identity.secret.manifest import (
    in_force,
    overflows,
    secret_manifest,
    without_growth,
)
from troth.planning.identity.secret.narrowing import Peering, pending_narrowing
from troth.planning.owned_objects import is_child, secret_ref, taken
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.resources.algorithms import SLOW
from troth.resources.conditions import Verdict
from troth.resources.identity.authentication import Certificate
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.edges.evaluation import CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED, Edge
from troth.world.facts.objects import REPLACED_AT, Fault, IdentitySecret, Manifest
from troth.world.observation.objects import NEVER, PEERS

AWAITING = frozenset({"AuthorityNotReady"})
"""Reasons for which an existing leaf stays in place and its condition is Unknown."""

UNSIGNED = AWAITING | {
    "SharedIdentity",
    "NamespaceOverlap",
    "TrustDomainTerminating",
}
"""Reasons for which no leaf can be issued, although the workload's peers are known.

Its peers are the declared ones; while a conflict lasts, no new peer is added."""

ISSUING = verdicts.false("CertificateIssued", "Issuing", "a certificate is being issued")
ISSUED = verdicts.true("CertificateIssued", "Issued", "the certificate is current")


def plan_certificate(view: View) -> Layer:
    """Return the condition of the certificate, and the steps to issue it or update its Secret.

    If the declared peers do not fit into the Secret, revocations take effect and no peer is added.
    """
    type_ = "CertificateIssued"
    view = _as_declared(view)
    if not overflows(view):
        return _plan_certificate(view, type_)
    layer = _plan_certificate(without_growth(view), type_)
    if layer.verdict.status != "True":
        return layer
    message = (
        f"the peers of this identity do not fit into Secret {secret_ref(view.identity.ref)}, so "
        "revocations take effect but new peers do not; divide the workload over several "
        "identities, or remove edges (see docs/limits.md)"
    )
    return replace(layer, verdict=verdicts.false(type_, "TooManyPeers", message))


def _plan_certificate(view: View, type_: str) -> Layer:
    leaf = view.secret.leaf if view.secret and is_child(view.secret, view.identity) else None
    if view.certificate is None:
        verdict = verdicts.true(type_, "NotRequired", "a gatewayOnly workload needs no certificate")
        return Layer(verdict, tuple(removal("Secret", view.secret, view.identity)))
    obstacle = _why_not_issue(view)
    declared = _lifetime_fault(view) or dns_name_fault(view) if obstacle is None else None
    if declared is not None:
        verdict = verdicts.false(type_, declared.reason, declared.message)
        return _document_alone(view, verdict)
    if obstacle is not None:
        reason, message = obstacle.reason, obstacle.message
        make_verdict = verdicts.unknown if leaf and reason in AWAITING else verdicts.false
        verdict = make_verdict(type_, reason, message)
        if reason not in UNSIGNED:
            return Layer(verdict, (), leaf)
        return _document_alone(view, verdict)
    assert view.domain is not None
    assert view.known_authority is not None
    authority = view.known_authority.authority
    assert authority is not None
    signed = view.signed
    question = _question(view, view.domain, authority, view.certificate, signed=signed)
    manifest = secret_manifest(view, question.profile.spiffe_id)
    fault = why_issue(question)
    if fault is not None:
        step = IssueLeaf(
            manifest=_dated(manifest, NEVER if _is_first(view) else format_time(view.moment.now)),
            uid=view.secret.uid if view.secret else "",
            resource_version=view.secret.resource_version if view.secret else "",
            trust_domain=view.domain.spec.domain,
            authority_secret=view.known_authority.secret.ref,
            profile=question.profile,
            algorithm=question.algorithm,
            authority=authority.fingerprint,
            anchors=view.own_anchors,
            keystore=question.keystore,
            reason=fault.reason,
            message=fault.message,
        )
        verdict = unwritten(type_, view.owned_secret.write_fault) or ISSUING
        # narrow now: neither a slow key nor a certificate that cannot be issued must delay it
        slow = question.algorithm in SLOW
        waits = slow or view.owned_secret.write_fault is not None
        # a fast leaf brings the roots at once
        first = _document_alone(view, verdict, keep_roots=not slow).steps if waits else ()
        # the leaf must be planned again after this write, which changes the Secret's version
        steps = first if first and view.owned_secret.write_fault is None else (*first, step)
        narrowing = _pending(view, manifest, question.profile.spiffe_id)
        return Layer(verdict, steps, leaf, narrowing)
    assert view.secret is not None
    steps = _update(view, view.secret, _dated_for_roots(view, view.secret, manifest))
    narrowing = _pending(view, manifest, question.profile.spiffe_id)
    return Layer(unwritten(type_, view.owned_secret.write_fault) or ISSUED, steps, leaf, narrowing)


def plan_document(view: View, verdict: Verdict) -> Layer:
    """Return the layer with only the document planned, for a certificate that cannot be planned.

    `verdict` is the certificate's condition. The existing certificate stays.
    """
    if view.certificate is None:
        return Layer(verdict)
    view = _as_declared(view)
    if overflows(view):
        view = without_growth(view)
    return _document_alone(view, verdict)


def _document_alone(view: View, verdict: Verdict, *, keep_roots: bool = True) -> Layer:
    """Return the layer with the declared document and the existing certificate.

    A narrowing must wait neither for an authority nor for the end of a conflict. The workload's own
    SPIFFE ID stays unchanged, and so do the roots unless the declared ones are known.
    """
    secret = view.secret
    if secret is None or not is_child(secret, view.identity):
        return Layer(verdict)
    own_id = current_document(secret.public.get(PEERS, "")).get("spiffeID")
    if not isinstance(own_id, str):
        if secret.leaf is None:
            return Layer(verdict)
        own_id = secret.leaf.spiffe_id
    manifest = secret_manifest(view, own_id)
    if keep_roots:
        manifest = _with_current_roots(view, manifest)
    steps = _update(view, secret, _dated_for_roots(view, secret, manifest))
    if steps and view.owned_secret.write_fault:
        verdict = unwritten(verdict.type, view.owned_secret.write_fault) or verdict
    return Layer(verdict, steps, secret.leaf, _pending(view, manifest, own_id))


def _with_current_roots(view: View, manifest: Manifest) -> Manifest:
    current = view.secret.public if view.secret else {}
    roots = {name: text for name, text in current.items() if name == ROOTS}
    return {**manifest, "stringData": manifest["stringData"] | roots}


def _pending(view: View, manifest: Manifest, own_id: str) -> Narrowing:
    """Return the narrowing that is still pending: grants in the Secret that are not declared.

    An edge that is closed only because of this narrowing counts as live.
    """
    if view.secret is None or not is_child(view.secret, view.identity):
        return Narrowing()
    declared = manifest["stringData"]
    if any(_closed_by_own(edge, view) for edge in view.edges):
        view = _with_own_closed(view, EdgeState.LIVE)
        live = secret_manifest(view, own_id)["stringData"]
        declared = {**live, ROOTS: declared[ROOTS]}
    assert view.secret is not None
    if view.secret.public == declared:
        return Narrowing()
    current = current_document(view.secret.public.get(PEERS, ""))
    edges, ids = in_force(view, current)
    return pending_narrowing(view.secret.public, declared, Peering(view.identity.ref, edges, ids))


def _as_declared(view: View) -> View:
    """Return a view in which no edge is closed because the document is not yet narrowed.

    Such an edge is suspended instead, so the document keeps its entry, narrowed to what is
    declared.
    """
    return _with_own_closed(view, EdgeState.SUSPENDED)


def _with_own_closed(view: View, state: EdgeState) -> View:
    edges = [
        replace(edge, state=state) if _closed_by_own(edge, view) else edge for edge in view.edges
    ]
    return replace(view, edges=tuple(edges))


def _closed_by_own(edge: Edge, view: View) -> bool:
    """Return whether an edge is closed because this identity's document cannot be narrowed."""
    own = (CALLEE_NOT_NARROWED, edge.callee), (CALLER_NOT_NARROWED, edge.caller)
    return (edge.reason, view.identity.ref) in own


def _update(view: View, secret: IdentitySecret, manifest: Manifest) -> tuple[UpdatePublic, ...]:
    """Return the update of a Secret's public part, none if it is current.

    A declared truststore gets the domain's own roots of them. One of an older version may also have
    federated roots. If it is not intact, only a new leaf restores it.
    """
    keystores = view.certificate is not None and view.certificate.keystores
    roots = manifest["stringData"].get(ROOTS)
    current = secret.public.get(ROOTS) == roots
    mixed = secret.truststore_mixed and roots == bundle_text(view.anchors)
    if not keystores or not secret.keystore_intact or (current and not mixed):
        return public_update(secret, manifest, view.kept_from(secret))
    return public_update(secret, manifest, secret.resource_version, view.own_anchors)


def public_update(
    secret: IdentitySecret, manifest: Manifest, over: str, truststore: tuple[bytes, ...] = ()
) -> tuple[UpdatePublic, ...]:
    """Return the update of a Secret to the public part in `manifest`, none if it is current.

    `over` is the resource version that the update requires, empty for any. `truststore` is as in
    `UpdatePublic`.
    """
    if not _stale(secret, manifest) and not (truststore and secret.truststore_mixed):
        return ()
    drops = tuple(sorted(secret.public.keys() - manifest["stringData"].keys()))
    return (UpdatePublic(manifest, secret.uid, over, drops, truststore),)


def _is_first(view: View) -> bool:
    """Return whether no workload can have read an earlier leaf of this identity."""
    return view.secret is None and view.identity.status.certificate is None


def _dated(manifest: Manifest, replaced_at: str) -> Manifest:
    """Return the Secret with an annotation for the time of its last replacement."""
    metadata = {**manifest["metadata"], "annotations": {REPLACED_AT: replaced_at}}
    return {**manifest, "metadata": metadata}


def _dated_for_roots(view: View, secret: IdentitySecret, manifest: Manifest) -> Manifest:
    """Return the Secret, dated if it gets roots that it does not have."""
    declared = manifest["stringData"].get(ROOTS, "")
    if not roots_in(declared) - roots_in(secret.public.get(ROOTS, "")):
        return manifest
    return _dated(manifest, format_time(view.moment.now))


def _why_not_issue(view: View) -> Fault | None:
    """Return why nothing may be issued now, None if it may. An issued leaf then stays as it is."""
    if view.domain is None:
        return Fault(view.governance.reason, view.governance.message)
    if view.shared is not None:
        return Fault("SharedIdentity", view.shared.message)
    fault = taken(view.owned_secret, view.identity, view.moment.now)
    if fault is not None:
        return fault
    known, name = view.known_authority, view.domain.metadata.name
    if known is None:
        return Fault("AuthorityNotReady", f"TrustDomain {name} has no authority yet")
    if known.authority is None:
        message = f"the authority of TrustDomain {name} cannot be used; see its status"
        return Fault("AuthorityNotReady", message)
    if not known.authority.not_before <= view.moment.now < known.authority.not_after:
        message = (
            f"the authority of TrustDomain {name} is not yet valid or has expired; see its status"
        )
        return Fault("AuthorityNotReady", message)
    return None


def _lifetime_fault(view: View) -> Fault | None:
    if view.domain is None or view.certificate is None:
        return None
    return lifetime_fault(_lifetime(view.domain, view.certificate), view.domain)


def _lifetime(domain: TrustDomain, declared: Certificate) -> timedelta:
    ceiling = domain.spec.certificates.lifetime
    return min(ceiling, declared.lifetime or ceiling)


def _question(
    view: View,
    domain: TrustDomain,
    authority: Authority,
    declared: Certificate,
    *,
    signed: bool,
) -> LeafCandidate:
    ref, spec = view.identity.ref, view.identity.spec
    known = view.known_authority
    services = [
        name
        for service in view.services
        for name in (
            f"{service}.{ref.namespace}.svc",
            f"{service}.{ref.namespace}.svc.cluster.local",
        )
        if all(each.allow_dns_name(name) for each in authority.name_constraints)
    ]
    return LeafCandidate(
        secret=view.secret,
        authority=authority,
        signed=signed,
        profile=LeafProfile(
            spiffe_id=spiffe_id(
                domain.spec.domain, ref.namespace, spec.workload.service_account_name
            ),
            dns_names=tuple(dict.fromkeys([*services, *declared.dns_names])),
            lifetime=_lifetime(domain, declared),
            subject=Subject(ref.name, ref.namespace)
            if all(each.allow_subjects for each in authority.name_constraints)
            else None,
        ),
        algorithm=declared.key_algorithm,
        keystore=bool(declared.keystores),
        uid=view.identity.metadata.uid,
        now=view.moment.now,
        retiring=known.retiring.subject_key_id if known and known.retiring else "",
        in_turn=view.reissue_wait <= timedelta(0),
        rotations=view.rotations,
    )


def _stale(secret: IdentitySecret, manifest: Manifest) -> bool:
    labels = manifest["metadata"]["labels"]
    return secret.public != manifest["stringData"] or any(
        secret.labels.get(key) != value for key, value in labels.items()
    )
