"""The certificate of an identity: whether it may be issued, and when a new one is needed."""

from datetime import timedelta

from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.issuing import LeafProfile
from troth.pki.certificates.subjects import Subject
from troth.pki.spiffe import spiffe_id
from troth.planning import verdicts
from troth.planning.certificates.leaf import LeafCandidate, lifetime_fault, why_issue
from troth.planning.identity.claims import dns_name_fault
from troth.planning.identity.facts import View
from troth.planning.identity.secret.manifest import secret_manifest
from troth.planning.identity.secret.updates import (
    TYPE,
    SecretPart,
    dated,
    dated_for_roots,
    document_alone,
    pending,
    update,
)
from troth.planning.owned_objects import is_child, taken
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.objects import removal
from troth.planning.steps.step import Step
from troth.resources.algorithms import SLOW
from troth.resources.identity.authentication import Certificate
from troth.resources.schema.scalars import format_time
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import Fault, Manifest
from troth.world.observation.objects import NEVER

AWAITING = frozenset({"AuthorityNotReady"})
"""Reasons for which an existing leaf stays in place and its condition is Unknown."""

UNSIGNED = AWAITING | {
    "SharedIdentity",
    "NamespaceOverlap",
    "TrustDomainTerminating",
}
"""Reasons for which no leaf can be issued, although the workload's peers are known.

Its peers are the declared ones; while a conflict lasts, no new peer is added."""

ISSUING = verdicts.false(TYPE, "Issuing", "a certificate is being issued")
ISSUED = verdicts.true(TYPE, "Issued", "the certificate is current")


def leaf_part(view: View) -> SecretPart:
    """Return the condition of the certificate, and the steps to issue it or update its Secret."""
    if view.certificate is None:
        verdict = verdicts.true(TYPE, "NotRequired", "a gatewayOnly workload needs no certificate")
        return SecretPart((verdict,), removal("Secret", view.secret, view.identity))
    obstacle = _why_not_issue(view)
    if obstacle is not None:
        return _unissued(view, obstacle)
    declared = verdicts.faulty(TYPE, _lifetime_fault(view) or dns_name_fault(view))
    if declared is not None:
        return document_alone(view, declared)
    assert view.domain is not None
    assert view.known_authority is not None
    authority = view.known_authority.authority
    assert authority is not None
    question = _question(view, view.domain, authority, view.certificate)
    manifest = secret_manifest(view, question.profile.spiffe_id)
    narrowing = pending(view, manifest, question.profile.spiffe_id)
    failed, fault = verdicts.faulty(TYPE, view.owned_secret.write_fault), why_issue(question)
    steps: tuple[Step, ...]
    if fault is None:
        assert view.secret is not None
        verdict = failed or ISSUED
        steps = update(view, view.secret, dated_for_roots(view, view.secret, manifest))
    else:
        verdict = failed or ISSUING
        steps = _issue(view, question, manifest, fault)
        # narrow now: neither a slow key nor a certificate that cannot be issued must delay it
        if question.algorithm in SLOW or failed is not None:
            # a fast leaf brings the roots at once
            keep_roots = question.algorithm not in SLOW
            first = document_alone(view, verdict, keep_roots=keep_roots).steps
            # the leaf must be planned again after this write, which changes the Secret's version
            steps = first if first and failed is None else (*first, *steps)
    return SecretPart((verdict,), steps, narrowing=narrowing)


def _unissued(view: View, obstacle: Fault) -> SecretPart:
    """Return the part while nothing may be issued; an issued leaf stays."""
    leaf = view.secret.leaf if view.secret and is_child(view.secret, view.identity) else None
    make_verdict = verdicts.unknown if leaf and obstacle.reason in AWAITING else verdicts.false
    verdict = make_verdict(TYPE, obstacle.reason, obstacle.message)
    if obstacle.reason not in UNSIGNED:
        return SecretPart((verdict,))
    return document_alone(view, verdict)


def _issue(
    view: View, question: LeafCandidate, manifest: Manifest, fault: Fault
) -> tuple[IssueLeaf]:
    assert view.domain is not None
    assert view.known_authority is not None
    # then no workload can have read an earlier leaf
    first = view.secret is None and view.identity.status.certificate is None
    step = IssueLeaf(
        manifest=dated(manifest, NEVER if first else format_time(view.moment.now)),
        uid=view.secret.uid if view.secret else "",
        resource_version=view.secret.resource_version if view.secret else "",
        trust_domain=view.domain.spec.domain,
        authority_secret=view.known_authority.secret.ref,
        profile=question.profile,
        algorithm=question.algorithm,
        authority=question.authority.fingerprint,
        anchors=view.own_anchors,
        keystore=question.keystore,
        reason=fault.reason,
        message=fault.message,
    )
    return (step,)


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
        signed=view.signed,
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
