"""The inputs of an identity's plan, gathered once, and helpers that its layers share."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.certificates.leaf import Leaf, renewal_spread
from troth.pki.spiffe import spiffe_id
from troth.planning import faults
from troth.planning import status as verdicts
from troth.planning.certificates.view import own_anchors, trusted_anchors
from troth.planning.faults import Isolation
from troth.planning.moment import Moment
from troth.planning.network.broker_reach import Reach, reach_of
from troth.planning.owned_objects import is_child, policy_ref, secret_ref, taken
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step
from troth.planning.trust_domain.root_rotation import reissue_wait
from troth.resources.conditions import Verdict
from troth.resources.identity.authentication import Certificate, GatewayOnly
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.messaging.topic_policy import AcceptedSchemas
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import Governance
from troth.trust.declarations.grant_entries import Purpose
from troth.trust.declarations.narrowing import NOTHING, Narrowing
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.sharing import SharedIdentity
from troth.trust.edges.candidate import EdgeCandidate
from troth.trust.edges.declared import edges_of
from troth.trust.edges.deliveries import accepted_gateways
from troth.trust.edges.evaluation import Edge, Evaluate, evaluate, evaluate_or_refuse
from troth.trust.edges.gateway_trust import first_accepted, trust_ends
from troth.trust.grants import Action
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.objects import Content, Fault, IdentitySecret, KnownAuthority
from troth.world.keys import identity_key
from troth.world.reader import Reader
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class View:
    """All inputs of the plan of one identity, gathered once."""

    identity: ServiceIdentity
    governance: Governance
    shared: SharedIdentity | None
    known_authority: KnownAuthority | None
    anchors: tuple[bytes, ...]
    """The roots of `ca.crt`: its domain's own and those of federated domains."""
    own_anchors: tuple[bytes, ...]
    secret: IdentitySecret | None
    policy: Content | None
    secret_foreign: datetime | None
    policy_foreign: datetime | None
    secret_fault: Fault | None
    """Why the Secret cannot be kept as declared, None if it can."""
    policy_fault: Fault | None
    services: tuple[str, ...]
    edges: tuple[Edge, ...]
    topics: tuple[TopicGrant, ...]
    """Its own grants, and the publish grants of others in policies by which it consumes."""
    keeps_schemas: bool
    """Whether a policy also accepts its previous schema, which only the document has."""
    reach: Reach
    unread_webhooks: bool
    """Whether an unreadable endpoint may target this identity."""
    trust_turns: tuple[datetime, ...]
    reissue_wait: timedelta
    rotations: tuple[CredentialRotation, ...]
    moment: Moment

    @property
    def domain(self) -> TrustDomain | None:
        """The governing trust domain."""
        return self.governance.domain

    @property
    def certificate(self) -> Certificate | None:
        """The declared certificate, None if the authentication pattern has none."""
        return self.identity.spec.authentication.certificate

    @property
    def gateway_only(self) -> GatewayOnly | None:
        """The declared gateway-only trust, None for another authentication pattern."""
        return self.identity.spec.authentication.gateway_only

    def kept_from(self, child: IdentitySecret | Content | None) -> str:
        """Return the resource version that a write of an owned object requires.

        It is set if the object keeps parts whose state is unknown now, and empty if everything in
        it follows from what is declared.
        """
        suspended = any(edge.state is EdgeState.SUSPENDED for edge in self.edges)
        suspended |= any(grant.state is GrantState.SUSPENDED for grant in self.topics)
        unsettled = suspended or self.reach.unsettled or self.unread_webhooks or self.keeps_schemas
        kept = unsettled or self.domain is None or self.shared is not None
        return child.resource_version if child is not None and kept else ""


def gather(
    identity: ServiceIdentity,
    world: World,
    moment: Moment,
    isolation: Isolation,
    foreign: Isolation,
) -> View:
    """Return the inputs of an identity's plan.

    If reading a part raises an exception, the view has the value that opens least, and no
    certificate may be issued from it. Edges that only peers declare are judged in `foreign`.
    """
    ref, run = identity.ref, isolation.run
    governance = run(
        lambda: world.registry.governance(ref.namespace),
        lambda error: Governance(None, faults.REASON, faults.sentence(error), settled=False),
    )
    domain = governance.domain
    secret, policy = secret_ref(ref), policy_ref(ref)
    edges = run(
        lambda: edges_of(world.registry, ref, moment.now, _evaluation(ref, world, foreign)),
        lambda _: edges_of(world.registry, ref, moment.now, evaluate_or_refuse),
    )
    known = run(lambda: world.authorities.of(domain) if domain else None, lambda _: None)
    return View(
        identity=identity,
        governance=governance,
        shared=run(
            lambda: world.registry.shared_identity(ref),
            lambda error: SharedIdentity(faults.sentence(error)),
        ),
        known_authority=known,
        anchors=run(lambda: trusted_anchors(domain, Reader(world)) if domain else (), lambda _: ()),
        own_anchors=run(lambda: own_anchors(domain, Reader(world)) if domain else (), lambda _: ()),
        secret=world.secrets.get(secret),
        policy=world.policies.get(policy),
        secret_foreign=world.foreign.get(("Secret", secret)),
        policy_foreign=world.foreign.get(("NetworkPolicy", policy)),
        secret_fault=world.write_fault("Secret", secret),
        policy_fault=world.write_fault("NetworkPolicy", policy),
        services=run(lambda: tuple(world.service_names(ref)), lambda _: ()),
        edges=edges,
        topics=run(lambda: tuple(_topics(ref, world)), lambda _: ()),
        keeps_schemas=_keeps_schemas(ref, world),
        reach=run(lambda: reach_of(ref, world), lambda _: Reach((), (), frozenset())),
        unread_webhooks=_has_unread_webhooks(ref, world),
        trust_turns=run(lambda: tuple(_trust_turns(ref, edges, world)), lambda _: ()),
        reissue_wait=run(
            lambda: _reissue_wait(identity, domain, known, moment), lambda _: timedelta(0)
        ),
        rotations=world.rotations.of(identity_key(ref)),
        moment=moment,
    )


def _evaluation(ref: Ref, world: World, foreign: Isolation) -> Evaluate:
    """Return the evaluation of an identity's edges, with those that only peers declare apart.

    An error of these refuses the one edge and is no fault of the identity.
    """
    mine = world.registry.declared(ref)

    def evaluation(candidate: EdgeCandidate) -> Edge:
        inbound = candidate.callee == ref
        peers, peer = (
            (mine.accepts, candidate.caller) if inbound else (mine.calls, candidate.callee)
        )
        if candidate.port in peers.get(peer, ()):
            return evaluate(candidate)
        return foreign.run(lambda: evaluate(candidate), lambda _: evaluate_or_refuse(candidate))

    return evaluation


def _keeps_schemas(ref: Ref, world: World) -> bool:
    uses = world.brokers.messaging.uses(ref)
    policies = world.brokers.messaging.policies
    declared = (policies[each].spec.schema_ for each in uses.policies & policies.keys())
    return any(each is not None and each.accept is AcceptedSchemas.PREVIOUS for each in declared)


def _has_unread_webhooks(ref: Ref, world: World) -> bool:
    """Return whether an unreadable endpoint of the namespace may target an identity.

    It may target only one that accepts a gateway. `take_webhook` promises to affect no others.
    """
    if world.registry.webhooks.first_unread_in(ref.namespace) is None:
        return False
    return any(True for _ in accepted_gateways(world.registry, ref))


def _reissue_wait(
    identity: ServiceIdentity,
    domain: TrustDomain | None,
    known: KnownAuthority | None,
    moment: Moment,
) -> timedelta:
    """Return how long a leaf of a root that is being replaced waits to be reissued."""
    if domain is None or known is None or known.retiring is None:
        return timedelta(0)
    return reissue_wait(domain, known, renewal_spread(identity.metadata.uid), moment)


def _topics(ref: Ref, world: World) -> Iterator[TopicGrant]:
    """Yield the grants of an identity, and those of others that its document names.

    A consumer's document names producers and the reviewer, a reviewer's producers and consumers.
    """
    yield from world.grants.for_identity(ref)
    uses = world.brokers.messaging.uses(ref)
    for policy in sorted(uses.consumes | uses.reviews):
        named = {Action.PUBLISH}
        named |= {Action.REVIEW} if policy in uses.consumes else set()
        named |= {Action.CONSUME} if policy in uses.reviews else set()
        for each in world.grants.of(policy):
            of_document = each.entry.purpose in {Purpose.MESSAGES, Purpose.RETRY, Purpose.REVIEW}
            if each.entry.identity != ref and of_document and each.entry.action in named:
                yield each


def _trust_turns(ref: Ref, edges: tuple[Edge, ...], world: World) -> Iterator[datetime]:
    """Yield when the gateway-only trust of each callee becomes valid and when it expires.

    This caller's egress opens and closes at these times.
    """
    for edge in edges:
        callee = world.registry.identities.get(edge.callee)
        trust = callee.spec.authentication.gateway_only if callee else None
        if edge.caller == ref and trust is not None:
            assert callee is not None
            yield trust.counts_from
            yield trust_ends(trust.expires_at, first_accepted(callee, world.registry))


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the plan: its condition, its steps, and the leaf that is in place.

    `narrowing` is the pending narrowing of the document in the identity's Secret.
    """

    verdict: Verdict
    steps: tuple[Step, ...] = ()
    leaf: Leaf | None = None
    narrowing: Narrowing = NOTHING


def unwritten(type_: str, fault: Fault | None) -> Verdict | None:
    """Return the condition of an object with a write fault, None without one. Troth retries."""
    return verdicts.false(type_, fault.reason, fault.message) if fault is not None else None


def conflict(
    kind: str, ref: Ref, fact: IdentitySecret | Content | None, view: View
) -> Fault | None:
    """Return the conflict that prevents writing an owned object, None if there is none."""
    seen = view.secret_foreign if kind == "Secret" else view.policy_foreign
    return taken(kind, ref, fact, view.identity, seen=seen, now=view.moment.now)


def removal(
    kind: str, fact: IdentitySecret | Content | None, identity: ServiceIdentity
) -> Iterator[Step]:
    """Yield the removal of an object that should not exist, if this identity owns it."""
    if fact is not None and is_child(fact, identity):
        yield Remove(kind, fact.ref, fact.uid)


def spiffe_ids_of(peer: Ref, registry: Registry) -> frozenset[str]:
    """Return the possible SPIFFE IDs of an identity.

    There is one for each domain that claims its namespace, and none if it has no certificate.
    """
    identity = registry.identities.get(peer)
    if identity is None or identity.spec.authentication.certificate is None:
        return frozenset()
    account = identity.spec.workload.service_account_name
    claims = registry.governance(peer.namespace).claims
    return frozenset(spiffe_id(claim.spec.domain, peer.namespace, account) for claim in claims)
