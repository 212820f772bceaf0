"""The plan of a `ServiceIdentity`: its Secret, its NetworkPolicy, its status."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.authorities import Authority
from troth.pki.bundles import bundle_pem
from troth.pki.certificates import Leaf, renewal_due, short, spread_of
from troth.pki.issuing import LeafProfile
from troth.pki.spiffe import spiffe_id
from troth.planning import status as verdicts
from troth.planning.anchors import trusted_anchors
from troth.planning.children import FOREIGN_RETRY, is_child, metadata_of, policy_ref, secret_ref
from troth.planning.edge_status import edge_statuses, peers_agree
from troth.planning.leaf import LeafQuestion, why_issue
from troth.planning.network import Situation, compile_policy, keep_open
from troth.planning.peers import identity_document
from troth.planning.plan import (
    Apply,
    IssueLeaf,
    Plan,
    Remove,
    Step,
    UpdatePublic,
)
from troth.resources.conditions import Verdict
from troth.resources.references import Ref
from troth.resources.scalars import format_time
from troth.resources.service_identity import (
    MTLS,
    CertificateStatus,
    EdgeState,
    Enforcement,
    GatewayOnly,
    ServiceIdentity,
    ServiceIdentityStatus,
)
from troth.resources.trust_domain import TrustDomain
from troth.trust.edges import Edge, edges_of, gateway_trust_fault
from troth.trust.registry import Governance, SharedIdentity
from troth.world.facts import Content, Fault, IdentitySecret, KnownAuthority, Manifest
from troth.world.observe import PEERS, ROOTS
from troth.world.world import Key, World

GATEWAY_WARNING = timedelta(days=14)
"""How long before its end gateway-only trust begins to warn."""

ON_ITS_WAY = frozenset({"AuthorityNotReady", "Issuing", "PolicyPending", "BeingReplaced"})
"""Reasons that pass without a person doing anything."""


@dataclass(frozen=True, slots=True)
class View:
    """Everything the plan of one identity depends on, gathered once."""

    identity: ServiceIdentity
    governance: Governance
    shared: SharedIdentity | None
    known_authority: KnownAuthority | None
    anchors: tuple[bytes, ...]
    secret: IdentitySecret | None
    policy: Content | None
    secret_foreign: datetime | None
    policy_foreign: datetime | None
    services: tuple[str, ...]
    edges: tuple[Edge, ...]
    trust_ends: tuple[datetime, ...]
    now: datetime

    @property
    def domain(self) -> TrustDomain | None:
        """The governing trust domain."""
        return self.governance.domain

    @property
    def mtls(self) -> MTLS | None:
        """The declared mTLS, if that is the pattern."""
        return self.identity.spec.authentication.mtls

    @property
    def gateway_only(self) -> GatewayOnly | None:
        """The declared gateway-only trust, if that is the pattern."""
        return self.identity.spec.authentication.gateway_only


def gather(identity: ServiceIdentity, world: World, now: datetime) -> View:
    """Read from the world all that the plan depends on."""
    ref = identity.ref
    governance = world.registry.governance(ref.namespace)
    domain = governance.domain
    secret, policy = secret_ref(ref), policy_ref(ref)
    edges = edges_of(world.registry, ref, now)
    return View(
        identity=identity,
        governance=governance,
        shared=world.registry.shared_identity(ref),
        known_authority=world.authority(domain) if domain else None,
        anchors=trusted_anchors(domain, world) if domain else (),
        secret=world.secrets.get(secret),
        policy=world.policies.get(policy),
        secret_foreign=world.foreign.get(("Secret", secret)),
        policy_foreign=world.foreign.get(("NetworkPolicy", policy)),
        services=tuple(world.service_names(ref)),
        edges=edges,
        trust_ends=tuple(_trust_ends(ref, edges, world)),
        now=now,
    )


def _trust_ends(ref: Ref, edges: tuple[Edge, ...], world: World) -> Iterator[datetime]:
    """Yield when the gateway-only trust of a callee ends: this caller's egress closes with it."""
    for edge in edges:
        callee = world.registry.identities.get(edge.callee)
        if edge.caller == ref and callee and callee.spec.authentication.gateway_only:
            yield callee.spec.authentication.gateway_only.expires_at


def plan_service_identity(key: Key, world: World, now: datetime) -> Plan:
    """Return what an identity asks of the world. Children of a deleted one go with their owner."""
    manifest = world.unreadable.get(key)
    if manifest is not None:
        sentence = world.registry.invalid_identities[key.ref]
        return Plan(
            key,
            manifest["metadata"]["uid"],
            status=verdicts.unreadable_status(manifest, sentence, now),
            previous_status=manifest.get("status") or {},
        )
    identity = world.registry.identities.get(key.ref)
    going = key.ref.namespace in world.terminating
    if identity is None or going or identity.metadata.deletion_timestamp:
        return Plan(key, identity.metadata.uid if identity else "")
    view = gather(identity, world, now)
    certificate = _plan_certificate(view, world)
    network = _plan_network(view, world)
    judged = [certificate.verdict, network.verdict, *_gateway_verdict(view)]
    agreed = peers_agree(identity, view.edges)
    summary = verdicts.summed_up(judged, ON_ITS_WAY)
    return Plan(
        key,
        identity.metadata.uid,
        steps=(*certificate.steps, *network.steps),
        status=_status(view, (*summary, *judged, agreed), certificate.leaf),
        previous_status=identity.status.manifest(),
        due=min((due for due in _dues(view, certificate.leaf) if due > now), default=None),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One layer's share of the plan."""

    verdict: Verdict
    steps: tuple[Step, ...] = ()
    leaf: Leaf | None = None


# The certificate


def _plan_certificate(view: View, world: World) -> _Part:
    type_ = "CertificateIssued"
    leaf = view.secret.leaf if view.secret and is_child(view.secret, view.identity) else None
    if view.mtls is None:
        verdict = verdicts.true(type_, "NotRequired", "gatewayOnly needs no certificate")
        return _Part(verdict, tuple(_remove("Secret", view.secret, view.identity)))
    obstacle = _why_not_issue(view, view.mtls)
    if obstacle is not None:
        reason, message = obstacle.reason, obstacle.message
        standing = verdicts.unknown if leaf and reason in ON_ITS_WAY else verdicts.false
        return _Part(standing(type_, reason, message), leaf=leaf)
    assert view.domain is not None
    assert view.known_authority is not None
    authority = view.known_authority.authority
    assert authority is not None
    question = _question(view, view.domain, authority, view.mtls)
    manifest = _secret_manifest(view, world, question.profile.spiffe_id)
    fault = why_issue(question)
    if fault is not None:
        step = IssueLeaf(
            manifest=manifest,
            trust_domain=view.domain.spec.domain,
            authority_secret=view.known_authority.secret.ref,
            profile=question.profile,
            algorithm=question.algorithm,
            authority=authority.fingerprint,
            anchors=view.anchors,
            keystore=question.keystore,
            reason=fault.reason,
            message=fault.message,
        )
        return _Part(verdicts.false(type_, "Issuing", "a certificate is being issued"), (step,))
    assert view.secret is not None
    steps = (UpdatePublic(manifest, view.secret.uid),) if _stale(view.secret, manifest) else ()
    return _Part(verdicts.true(type_, "Issued", "the certificate is current"), steps, leaf)


def _why_not_issue(view: View, mtls: MTLS) -> Fault | None:
    """Return why nothing may be issued now; what was issued is then left alone."""
    if view.domain is None:
        return Fault(view.governance.reason, view.governance.message)
    if view.shared is not None:
        return Fault("SharedIdentity", view.shared.message)
    conflict = _conflict("Secret", secret_ref(view.identity.ref), view.secret, view)
    if conflict is not None:
        return conflict
    known, name = view.known_authority, view.domain.metadata.name
    if known is None:
        return Fault("AuthorityNotReady", f"TrustDomain {name} has no authority yet")
    if known.authority is None:
        message = f"the authority of TrustDomain {name} cannot be used; see its status"
        return Fault("AuthorityNotReady", message)
    if not known.authority.not_before <= view.now < known.authority.not_after:
        message = f"the authority of TrustDomain {name} is not valid at this time"
        return Fault("AuthorityNotReady", message)
    return _name_fault(mtls, view.domain, known.authority)


def _name_fault(mtls: MTLS, domain: TrustDomain, authority: Authority) -> Fault | None:
    """Return the first DNS name that the domain does not give to its identities."""
    suffixes = domain.spec.certificates.dns_suffixes
    for name in mtls.dns_names:
        if not any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes):
            message = (
                f"TrustDomain {domain.metadata.name} does not allow the DNS name {name}; list a "
                "suffix of it under certificates.dnsSuffixes there, or leave the name out"
            )
            return Fault("DNSNameNotAllowed", message)
        if not all(each.allow_dns_name(name) for each in authority.name_constraints):
            message = f"the authority's name constraints forbid the DNS name {name}"
            return Fault("DNSNameNotAllowed", message)
    return None


def _question(view: View, domain: TrustDomain, authority: Authority, mtls: MTLS) -> LeafQuestion:
    ref, spec = view.identity.ref, view.identity.spec
    ceiling = domain.spec.certificates.lifetime
    services = [
        name
        for service in view.services
        for name in (
            f"{service}.{ref.namespace}.svc",
            f"{service}.{ref.namespace}.svc.cluster.local",
        )
        if all(each.allow_dns_name(name) for each in authority.name_constraints)
    ]
    return LeafQuestion(
        secret=view.secret,
        authority=authority,
        profile=LeafProfile(
            spiffe_id=spiffe_id(
                domain.spec.domain, ref.namespace, spec.workload.service_account_name
            ),
            dns_names=tuple(dict.fromkeys([*services, *mtls.dns_names])),
            lifetime=min(ceiling, mtls.lifetime or ceiling),
        ),
        algorithm=mtls.key_algorithm,
        keystore=bool(mtls.keystores),
        roots=bundle_pem(view.anchors),
        uid=view.identity.metadata.uid,
        now=view.now,
    )


def _secret_manifest(view: View, world: World, own_id: str) -> Manifest:
    """Return the Secret without its private part."""
    ids = _peer_ids(view.edges, world)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": metadata_of(secret_ref(view.identity.ref), view.identity),
        "stringData": {
            ROOTS: bundle_pem(view.anchors),
            PEERS: identity_document(view.identity, own_id, view.edges, ids),
        },
    }


def _stale(secret: IdentitySecret, manifest: Manifest) -> bool:
    labels = manifest["metadata"]["labels"]
    return secret.public != manifest["stringData"] or any(
        secret.labels.get(key) != value for key, value in labels.items()
    )


def _peer_ids(edges: tuple[Edge, ...], world: World) -> dict[Ref, str]:
    ids = {}
    for edge in edges:
        if edge.state is EdgeState.LIVE:
            for ref in (edge.caller, edge.callee):
                domain = world.registry.governance(ref.namespace).domain
                assert domain is not None
                account = world.registry.identities[ref].spec.workload.service_account_name
                ids[ref] = spiffe_id(domain.spec.domain, ref.namespace, account)
    return ids


# The network


def _plan_network(view: View, world: World) -> _Part:
    type_, ref = "NetworkEnforced", policy_ref(view.identity.ref)
    if view.identity.spec.enforcement is Enforcement.OBSERVE:
        verdict = verdicts.true(type_, "Observing", "planned and reported; no policy is written")
        return _Part(verdict, tuple(_remove("NetworkPolicy", view.policy, view.identity)))
    if view.domain is None:
        return _Part(verdicts.false(type_, view.governance.reason, view.governance.message))
    conflict = _conflict("NetworkPolicy", ref, view.policy, view)
    if conflict is not None:
        return _Part(verdicts.false(type_, conflict.reason, conflict.message))
    spec = compile_policy(
        Situation(
            identity=view.identity,
            edges=view.edges,
            peers=world.registry.identities,
            network=view.domain.spec.network,
            api_endpoints=world.api_endpoints,
            existing=view.policy.content if view.policy else None,
        )
    )
    if view.shared is not None:
        verdict = verdicts.false(type_, "SharedIdentity", view.shared.message)
        if view.policy is None:
            return _Part(verdict)
        spec = keep_open(spec, view.policy.content)
    elif view.policy is None:
        verdict = verdicts.false(type_, "PolicyPending", "the NetworkPolicy is being written")
    else:
        verdict = verdicts.true(type_, "Enforced", "the NetworkPolicy is in place")
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata_of(ref, view.identity),
        "spec": spec,
    }
    return _Part(verdict, (Apply(manifest),))


# What both need


def _conflict(
    kind: str, ref: Ref, fact: IdentitySecret | Content | None, view: View
) -> Fault | None:
    """Return why a child cannot be written where it belongs."""
    if fact is not None and not is_child(fact, view.identity):
        message = f"{kind} {ref} belongs to another owner; it is left alone until it is gone"
        return Fault("Conflict", message)
    seen = view.secret_foreign if kind == "Secret" else view.policy_foreign
    if seen is not None and view.now < seen + FOREIGN_RETRY:
        message = (
            f"a {kind} {ref} exists that is not Troth's and is never overwritten; rename or "
            "delete it, or rename this ServiceIdentity"
        )
        return Fault("Conflict", message)
    return None


def _remove(
    kind: str, fact: IdentitySecret | Content | None, identity: ServiceIdentity
) -> Iterator[Step]:
    if fact is not None and is_child(fact, identity):
        yield Remove(kind, fact.ref, fact.uid)


def _dues(view: View, leaf: Leaf | None) -> Iterable[datetime]:
    if leaf is not None:
        yield _renewal(view, leaf)
    if view.gateway_only is not None:
        yield view.gateway_only.expires_at
        yield view.gateway_only.expires_at - GATEWAY_WARNING
    yield from view.trust_ends
    for seen in (view.secret_foreign, view.policy_foreign):
        if seen is not None:
            yield seen + FOREIGN_RETRY
    if view.known_authority is not None and view.known_authority.authority is not None:
        yield view.known_authority.authority.not_before
        yield view.known_authority.authority.not_after


def _renewal(view: View, leaf: Leaf) -> datetime:
    return renewal_due(leaf, spread_of(view.identity.metadata.uid))


def _gateway_verdict(view: View) -> Iterator[Verdict]:
    """Yield how gateway-only trust stands, for an identity that has it."""
    trust, type_ = view.gateway_only, "GatewayTrusted"
    if trust is None:
        return
    fault = gateway_trust_fault(trust, view.now)
    if fault is not None:
        yield verdicts.false(type_, fault.reason, fault.message)
    elif trust.expires_at <= view.now + GATEWAY_WARNING:
        message = (
            f"gateway-only trust ends at {format_time(trust.expires_at)}; from then on nobody is "
            f"accepted ({trust.owner} answers for it)"
        )
        yield verdicts.true(type_, "GatewayTrustEnding", message)
    else:
        yield verdicts.true(type_, "UntilItsEnd", f"{trust.owner} answers for it")


def _status(view: View, judged: Iterable[Verdict], leaf: Leaf | None) -> dict[str, object]:
    identity, domain = view.identity, view.domain
    status = ServiceIdentityStatus(
        observed_generation=identity.metadata.generation,
        spiffe_id=None
        if domain is None or view.mtls is None
        else spiffe_id(
            domain.spec.domain,
            identity.ref.namespace,
            identity.spec.workload.service_account_name,
        ),
        certificate=leaf and _certificate_status(view, leaf),
        edges=edge_statuses(identity, view.edges),
    ).manifest()
    status["conditions"] = verdicts.conditions(
        identity, identity.status.conditions, judged, view.now
    )
    return status


def _certificate_status(view: View, leaf: Leaf) -> CertificateStatus:
    known = view.known_authority
    authority = known.authority if known else None
    return CertificateStatus(
        fingerprint=short(leaf.fingerprint),
        serial=leaf.serial,
        not_after=leaf.not_after,
        renew_at=_renewal(view, leaf),
        authority=short(authority.fingerprint)
        if authority and authority.issued(leaf)
        else "unknown",
    )
