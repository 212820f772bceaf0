"""Plan of the issuer's certificate, an ordinary leaf in Troth's own namespace."""

from datetime import datetime

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.issuing import LeafProfile
from troth.planning import status as verdicts
from troth.planning.certificates.anchors import bundle_text
from troth.planning.certificates.leaf import LeafCandidate, leaf_due, lifetime_fault, why_issue
from troth.planning.network.issuers import issuer_host, issuer_hosts, issuer_id, issuer_secret
from troth.planning.owned_objects import FOREIGN_RETRY, metadata_of
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.step import Step
from troth.planning.trust_domain.authority import Part
from troth.planning.trust_domain.root_readers import signed_by
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import Fault, Manifest
from troth.world.world import World

TYPE = "TokensReady"


def plan_issuer(domain: TrustDomain, world: World, now: datetime) -> Part:
    """Return the verdict on the issuer's certificate, and the steps that issue or update it."""
    ref, secret = world.tokens.leaf_ref(domain), issuer_secret(domain, world)
    seen = world.foreign.get(("Secret", ref))
    foreign = ref in world.secrets and secret is None
    if foreign or (seen is not None and now < seen + FOREIGN_RETRY):
        message = (
            f"Secret {ref} is not managed by Troth, so it was not changed; rename it or delete it"
        )
        return Part(verdicts.false(TYPE, "Conflict", message))
    known = world.authorities.of(domain)
    authority = known.authority if known else None
    if known is None or authority is None or not authority.valid_at(now):
        message = "the issuer gets no certificate, because the authority cannot be used"
        return Part(verdicts.false(TYPE, "AuthorityNotReady", message))
    fault = lifetime_fault(domain.spec.certificates.lifetime, domain)
    fault = fault or _host_fault(domain, authority, world)
    if fault is not None:
        return Part(verdicts.false(TYPE, fault.reason, fault.message))
    question = LeafCandidate(
        secret=secret,
        authority=authority,
        signed=signed_by(domain, secret, world),
        profile=LeafProfile(
            spiffe_id=issuer_id(domain, world.own_namespace),
            dns_names=_hosts(domain, authority, world),
            lifetime=domain.spec.certificates.lifetime,
        ),
        algorithm=KeyAlgorithm.ECDSA_P256,
        keystore=False,
        uid=domain.metadata.uid,
        now=now,
    )
    steps = _steps(question, domain, world, known.anchors)
    fault = world.write_fault("Secret", ref)
    if fault is not None:
        return Part(verdicts.false(TYPE, fault.reason, fault.message), steps)
    if any(isinstance(step, IssueLeaf) for step in steps):
        message = "the issuer's certificate is being issued"
        return Part(verdicts.false(TYPE, "IssuingCertificate", message), steps)
    return Part(verdicts.true(TYPE, "Issued"), steps)


def issuer_leaf_due(domain: TrustDomain, world: World, now: datetime) -> datetime | None:
    """Return when the issuer's certificate is due for renewal, None while there is none."""
    secret = issuer_secret(domain, world)
    if secret is None or secret.leaf is None:
        return None
    return leaf_due(secret.leaf, domain.metadata.uid, (), now)


def _steps(
    question: LeafCandidate, domain: TrustDomain, world: World, anchors: tuple[bytes, ...]
) -> tuple[Step, ...]:
    roots = bundle_text(anchors)
    manifest = _manifest(domain, world, roots)
    secret, fault = question.secret, why_issue(question)
    if fault is not None:
        return (
            IssueLeaf(
                manifest=manifest,
                uid=secret.uid if secret else "",
                resource_version=secret.resource_version if secret else "",
                trust_domain=domain.spec.domain,
                authority_secret=world.authorities.ref(domain),
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


def _manifest(domain: TrustDomain, world: World, roots: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(world.tokens.leaf_ref(domain), domain),
        "stringData": {ROOTS: roots},
    }


def _hosts(domain: TrustDomain, authority: Authority, world: World) -> tuple[str, ...]:
    """Return the issuer's DNS names that the authority's name constraints permit."""
    return tuple(
        host
        for host in issuer_hosts(domain, world.own_namespace)
        if all(each.allow_dns_name(host) for each in authority.name_constraints)
    )


def _host_fault(domain: TrustDomain, authority: Authority, world: World) -> Fault | None:
    """Return why callers could not verify the issuer by its DNS name, None if they can."""
    host = issuer_host(domain, world.own_namespace)
    if host in _hosts(domain, authority, world):
        return None
    message = (
        f"the authority's name constraints forbid the issuer's DNS name {host}; set "
        "tokens.issuer to a URL with a permitted name"
    )
    return Fault("IssuerNameNotAllowed", message)
