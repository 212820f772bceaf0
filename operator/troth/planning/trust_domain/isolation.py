"""Isolation of namespaces: a policy that denies the pods that no identity selects.

A pod that loses the labels of its identity, or whose identity is deleted, would otherwise be open.
NetworkPolicies add up, so the policy takes nothing from the pods of identities. It opens nothing
but the cluster's resolver.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.planning import status as verdicts
from troth.planning.moment import Moment
from troth.planning.network.external_peers import pods_in
from troth.planning.network.rules import listed, spec_of
from troth.planning.owned_objects import differs, is_child, policy_manifest, taken
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
    Content,
    Fault,
    Manifest,
)
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

    A namespace with an identity in Observe mode is not isolated: its pods would be denied although
    no policy admits what they need. While an identity cannot be read, nothing changes there.
    """
    if isolation_of(domain) is Isolation.WORKLOAD:
        return IsolationLayer(tuple(removals(domain.metadata.name, world)), None)
    registry = world.registry
    unread = {ref.namespace for ref in registry.invalid_identities}
    observed: list[str] = []
    steps: list[Step] = []
    faults: list[Verdict] = []
    pending = False
    governed = {*registry.governed_by(domain.metadata.name)} - world.terminating
    for namespace in sorted(governed):
        ref = Ref(namespace, ISOLATION_POLICY)
        found = world.policies.get(ref)
        if registry.observing_in(namespace):
            observed.append(namespace)
            steps += _removal(found, domain)
            continue
        if namespace in unread and found is None:
            continue
        fault = _fault(ref, domain, world, moment)
        if fault is not None:
            faults.append(verdicts.false(CONDITION, fault.reason, fault.message))
            continue
        if unwritten := world.write_fault("NetworkPolicy", ref):
            faults.append(verdicts.false(CONDITION, unwritten.reason, unwritten.message))
        manifest = policy_manifest(ref, domain, _spec(domain))
        pending = pending or found is None or differs(manifest, found)
        steps.append(Apply(manifest))
    steps += _left_behind(domain, world, governed)
    if faults:
        return IsolationLayer(tuple(steps), faults[0])
    return IsolationLayer(tuple(steps), _verdict(observed, pending=pending))


def removals(name: str, world: World) -> Iterator[Step]:
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


def _verdict(observed: list[str], *, pending: bool) -> Verdict:
    if pending:
        return verdicts.false(CONDITION, PENDING, "NetworkPolicies are being written")
    if observed:
        message = (
            f"namespace {observed[0]} has an identity in Observe mode, so pods without an identity "
            "are open there; set enforcement: Enforce on its ServiceIdentities"
        )
        return verdicts.true(CONDITION, "IsolatedExceptObserved", message)
    message = "pods without an identity are denied in every governed namespace"
    return verdicts.true(CONDITION, "Isolated", message)


def _removal(found: Content | None, domain: TrustDomain) -> Iterator[Step]:
    if found is not None and is_child(found, domain):
        yield Remove("NetworkPolicy", found.ref, found.uid)


def _left_behind(domain: TrustDomain, world: World, governed: set[str]) -> Iterator[Step]:
    """Yield the removal of policies in namespaces that the domain certainly no longer governs."""
    for step in removals(domain.metadata.name, world):
        if isinstance(step, Remove) and step.ref.namespace not in governed:
            yield step


def _settled(namespace: str, world: World) -> bool:
    return namespace not in world.terminating and world.registry.governance(namespace).settled
