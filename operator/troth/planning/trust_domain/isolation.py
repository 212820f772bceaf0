"""Isolation of namespaces: a policy that denies the pods that no identity selects.

A pod that loses the labels of its identity, or whose identity is deleted, would otherwise be open.
NetworkPolicies add up, so the policy takes nothing from the pods of identities. It opens nothing
but the cluster's resolver.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from troth.planning import status as verdicts
from troth.planning.moment import Moment
from troth.planning.network.external_peers import pods_in
from troth.planning.network.rules import listed, spec_of
from troth.planning.owned_objects import FOREIGN_RETRY, differs, policy_manifest, taken
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Protocol
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import Isolation
from troth.world.facts.objects import (
    ISOLATION_POLICY,
    OWNER_KIND,
    OWNER_NAME,
    Fault,
    Manifest,
)
from troth.world.keys import Key
from troth.world.world import World

CONDITION, PENDING = "NamespacesIsolated", "IsolationPending"


@dataclass(frozen=True, slots=True)
class IsolationLayer:
    """Steps of a domain's isolation, and its condition, None if the domain isolates nothing."""

    steps: tuple[Step, ...]
    verdict: Verdict | None


def isolation_of(domain: TrustDomain) -> Isolation:
    """Return the isolation that is in force.

    A domain that does not say keeps what its status records. One without a record is new if it has
    never had an authority, and then isolates its namespaces. A default in the CRD would also apply
    to every stored domain, and close pods that nobody has declared yet.
    """
    if domain.spec.isolation is not None:
        return domain.spec.isolation
    if domain.status.isolation is not None:
        return domain.status.isolation
    return Isolation.WORKLOAD if domain.status.authorities else Isolation.NAMESPACE


def plan_isolation(domain: TrustDomain, world: World, moment: Moment) -> IsolationLayer:
    """Return the steps and the condition of a domain's isolation.

    It lasts until a domain that is being deleted is gone. While an identity or a broker of a
    namespace cannot be read, no isolation begins there.
    """
    name, registry = domain.metadata.name, world.registry
    if isolation_of(domain) is Isolation.WORKLOAD:
        return IsolationLayer(tuple(removals(name, world)), None)
    exceptions, spec = _exceptions(domain, world), _spec(domain)
    governed = {*registry.governed_by(name), *registry.left_by(name)} - world.terminating
    isolated = governed - exceptions.keys()
    steps: list[Step] = []
    faults: list[Verdict] = []
    pending = False
    for namespace in sorted(isolated):
        ref = Ref(namespace, ISOLATION_POLICY)
        found = world.policies.get(ref)
        fault = _fault(ref, domain, world, moment)
        if fault is not None:
            faults.append(verdicts.false(CONDITION, fault.reason, fault.message))
            continue
        if unwritten := world.write_fault("NetworkPolicy", ref):
            faults.append(verdicts.false(CONDITION, unwritten.reason, unwritten.message))
        manifest = policy_manifest(ref, domain, spec)
        pending = pending or found is None or differs(manifest, found)
        steps.append(Apply(manifest))
    steps += [each for each in removals(name, world) if each.ref.namespace not in isolated]
    verdict = _verdict([exceptions[each] for each in sorted(governed & exceptions.keys())])
    if pending:
        verdict = verdicts.false(CONDITION, PENDING, "NetworkPolicies are being written")
    return IsolationLayer(tuple(steps), faults[0] if faults else verdict)


def _exceptions(domain: TrustDomain, world: World) -> dict[str, str]:
    """Return the namespaces that are not isolated, with the reasons that a person can remove.

    The policy would deny pods that no policy of Troth admits: those of Troth itself, of resolvers,
    of identities in Observe mode, and of brokers, whose own calls nobody declares. An unreadable
    identity or broker may be one of these, so no isolation begins beside it.
    """
    unreadable = (
        "namespace {} is not isolated because {} cannot be read, so pods without an identity are "
        "open there; correct it or delete it"
    )
    observed = (
        "has an identity in Observe mode, so pods without an identity are open there; set "
        "enforcement: Enforce on its ServiceIdentities"
    )
    resolving = (
        "namespace {} has the resolver of TrustDomain {}, so pods without an identity are open "
        "there; correct its network.dns, or run the resolver in a namespace that no TrustDomain "
        "selects"
    )
    of_broker = (
        "has pods of a MessageBroker, so pods without an identity are open there; run the broker "
        "in a namespace of its own"
    )
    brokers = (
        *world.brokers.messaging.brokers.values(),
        *world.brokers.leaving_brokers.values(),
    )
    with_pods = {each.ref.namespace for each in brokers if each.spec.workload is not None}
    others = sorted(world.registry.domains.items(), reverse=True)
    resolvers = {each.spec.network.dns.namespace: other for other, each in others}
    return {
        **{space: resolving.format(space, other) for space, other in resolvers.items()},
        **{space: unreadable.format(space, each) for space, each in _not_begun(world).items()},
        **{space: f"namespace {space} {of_broker}" for space in with_pods},
        **{space: f"namespace {space} {observed}" for space in world.registry.observing()},
        **dict.fromkeys((world.own_namespace, domain.spec.network.dns.namespace), ""),
    }


def _not_begun(world: World) -> dict[str, str]:
    """Return the namespaces without isolation that have an unreadable identity or broker.

    Each has the kind and name of the first one: a broker before an identity.
    """
    unread = (
        *(Key("MessageBroker", ref) for ref in world.brokers.messaging.invalid_brokers),
        *(Key("ServiceIdentity", ref) for ref in world.registry.invalid_identities),
    )
    found: dict[str, str] = {}
    for key in sorted(unread):
        if Ref(key.ref.namespace, ISOLATION_POLICY) not in world.policies:
            found.setdefault(key.ref.namespace, str(key))
    return found


def isolation_dues(world: World) -> Iterator[datetime]:
    """Yield when an isolation is tried again whose name another program's policy had."""
    for (kind, ref), seen in world.foreign.items():
        if kind == "NetworkPolicy" and ref.name == ISOLATION_POLICY:
            yield seen + FOREIGN_RETRY


def removals(name: str, world: World) -> Iterator[Remove]:
    """Yield the removal of every isolation of a domain, which may be deleted."""
    for namespace in sorted(world.registry.namespaces):
        found = world.policies.get(Ref(namespace, ISOLATION_POLICY))
        if found is None or not _settled(namespace, world):
            continue
        if (found.labels.get(OWNER_KIND), found.labels.get(OWNER_NAME)) == ("TrustDomain", name):
            yield Remove("NetworkPolicy", found.ref, found.uid)


def _spec(domain: TrustDomain) -> Manifest:
    """Return a policy that selects every pod and admits only the resolver."""
    resolver = domain.spec.network.dns
    rule = {
        "to": [pods_in(resolver.namespace, resolver.pod_selector)],
        "ports": listed([(Protocol.UDP, resolver.port), (Protocol.TCP, resolver.port)]),
    }
    return spec_of({}, ingress=[], egress=[rule])


def _fault(ref: Ref, domain: TrustDomain, world: World, moment: Moment) -> Fault | None:
    place = "NetworkPolicy", ref
    seen = world.foreign.get(place)
    return taken(*place, world.policies.get(ref), domain, seen=seen, now=moment.now)


def _verdict(exceptions: list[str]) -> Verdict:
    found = next(filter(None, exceptions), "")
    if found:
        return verdicts.true(CONDITION, "IsolatedWithExceptions", found)
    message = "pods without an identity are denied in every governed namespace"
    return verdicts.true(CONDITION, "Isolated", message)


def _settled(namespace: str, world: World) -> bool:
    return namespace not in world.terminating and world.registry.governance(namespace).settled
