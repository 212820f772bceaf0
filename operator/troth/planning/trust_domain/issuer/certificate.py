"""Plan of the issuer's certificate, an ordinary leaf in Troth's own namespace."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.issuing import LeafProfile
from troth.planning import verdicts
from troth.planning.certificates.anchors import bundle_text
from troth.planning.certificates.leaf import LeafCandidate, leaf_due, lifetime_fault, why_issue
from troth.planning.network.issuers import issuer_host, issuer_hosts, issuer_id
from troth.planning.owned_objects import metadata_of, rechecks, taken
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.step import Step
from troth.planning.trust_domain.facts import DomainView
from troth.resources.algorithms import KeyAlgorithm
from troth.world.facts.objects import Fault, Manifest

TYPE = "TokensReady"


@fails_closed(unplanned(TYPE))
def plan_issuer(view: DomainView) -> Part:
    """Return the part that issues and updates the issuer's certificate.

    It is empty if the domain issues no tokens.
    """
    if view.domain.spec.tokens is None:
        return Part()
    return replace(_part(view), dues=tuple(_dues(view)))


def _part(view: DomainView) -> Part:
    domain, now = view.domain, view.moment.now
    place, secret = view.issuer_place, view.issuer
    if taken(place, domain, now) is not None:
        message = (
            f"Secret {place.ref} is not managed by Troth, so it was not changed; rename it or "
            "delete it"
        )
        return Part((verdicts.false(TYPE, "Conflict", message),))
    known = view.rotation.authority
    authority = known.authority if known else None
    if known is None or authority is None or not authority.valid_at(now):
        message = "the issuer gets no certificate, because the authority cannot be used"
        return Part((verdicts.false(TYPE, "AuthorityNotReady", message),))
    fault = lifetime_fault(domain.spec.certificates.lifetime, domain)
    fault = fault or _host_fault(view, authority)
    if fault is not None:
        return Part((verdicts.false(TYPE, fault.reason, fault.message),))
    question = LeafCandidate(
        secret=secret,
        authority=authority,
        signed=view.issuer_signed,
        profile=LeafProfile(
            spiffe_id=issuer_id(domain, view.own_namespace),
            dns_names=_hosts(view, authority),
            lifetime=domain.spec.certificates.lifetime,
        ),
        algorithm=KeyAlgorithm.ECDSA_P256,
        keystore=False,
        uid=domain.metadata.uid,
        now=now,
    )
    steps = _steps(question, view, known.anchors)
    fault = place.write_fault
    if fault is not None:
        return Part((verdicts.false(TYPE, fault.reason, fault.message),), steps)
    if any(isinstance(step, IssueLeaf) for step in steps):
        message = "the issuer's certificate is being issued"
        return Part((verdicts.false(TYPE, "IssuingCertificate", message),), steps)
    return Part((verdicts.true(TYPE, "Issued"),), steps)


def _dues(view: DomainView) -> Iterator[datetime]:
    leaf = view.issuer.leaf if view.issuer is not None else None
    if leaf is not None:
        yield leaf_due(leaf, view.domain.metadata.uid, (), view.moment.now)
    yield from rechecks(view.issuer_place)


def _steps(
    question: LeafCandidate, view: DomainView, anchors: tuple[bytes, ...]
) -> tuple[Step, ...]:
    roots = bundle_text(anchors)
    manifest = _manifest(view, roots)
    secret, fault = question.secret, why_issue(question)
    if fault is not None:
        return (
            IssueLeaf(
                manifest=manifest,
                uid=secret.uid if secret else "",
                resource_version=secret.resource_version if secret else "",
                trust_domain=view.domain.spec.domain,
                authority_secret=view.authority_place.ref,
                profile=question.profile,
                algorithm=question.algorithm,
                authority=question.authority.fingerprint,
                anchors=anchors,
                keystore=False,
                reason=fault.reason,
                message=fault.message,
            ),
        )
    assert secret is not None
    labels = manifest["metadata"]["labels"].items()
    if secret.public.get(ROOTS) == roots and labels <= dict(secret.labels).items():
        return ()
    return (UpdatePublic(manifest, secret.uid),)


def _manifest(view: DomainView, roots: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(view.issuer_place.ref, view.domain),
        "stringData": {ROOTS: roots},
    }


def _hosts(view: DomainView, authority: Authority) -> tuple[str, ...]:
    """Return the issuer's DNS names that the authority's name constraints permit."""
    return tuple(
        host
        for host in issuer_hosts(view.domain, view.own_namespace)
        if all(each.allow_dns_name(host) for each in authority.name_constraints)
    )


def _host_fault(view: DomainView, authority: Authority) -> Fault | None:
    """Return why callers could not verify the issuer by its DNS name, None if they can."""
    host = issuer_host(view.domain, view.own_namespace)
    if host in _hosts(view, authority):
        return None
    message = (
        f"the authority's name constraints forbid the issuer's DNS name {host}; set "
        "tokens.issuer to a URL with a permitted name"
    )
    return Fault("IssuerNameNotAllowed", message)
