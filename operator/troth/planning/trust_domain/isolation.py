"""Isolation of namespaces: a policy that denies the pods that no identity selects.

A pod that loses the labels of its identity, or whose identity is deleted, would otherwise be open.
NetworkPolicies add up, so the policy takes nothing from the pods of identities. It opens nothing
but the cluster's resolver.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from troth.planning import faults, verdicts
from troth.planning.network.external_peers import pods_in
from troth.planning.network.rules import listed, spec_of
from troth.planning.owned_objects import differs, policy_manifest, rechecks, taken
from troth.planning.parts import Part, fails_closed
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step
from troth.planning.trust_domain.facts import NetworkIsolation, isolation_of
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Protocol
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import Isolation
from troth.world.facts.objects import OWNER_KIND, OWNER_NAME, Manifest

TYPE, PENDING = "NamespacesIsolated", "IsolationPending"


def _closed(error: Exception, domain: TrustDomain, _: NetworkIsolation, __: datetime, /) -> Part:
    """Return the part that leaves all policies as they are.

    It records the isolation of a new domain. Otherwise a root would be recorded without it, and
    `isolation_of` would read that as a domain that isolates nothing.
    """
    return Part((faults.verdict(TYPE, error),), status={"isolation": isolation_of(domain)})


@fails_closed(_closed)
def plan_isolation(domain: TrustDomain, known: NetworkIsolation, now: datetime) -> Part:
    """Return the part that isolates a domain's namespaces, without a condition if it does not.

    It lasts until a domain that is being deleted is gone. While an identity or a broker of a
    namespace cannot be read, no isolation begins there.
    """
    name, isolates = domain.metadata.name, isolation_of(domain)
    dues = tuple(due for each in known.places.values() for due in rechecks(each))
    part = Part(dues=dues, status={"isolation": isolates})
    if isolates is Isolation.WORKLOAD:
        return replace(part, steps=tuple(removals(name, known)))
    exceptions, spec = _exceptions(domain, known), _spec(domain)
    governed = known.places.keys() - known.terminating
    isolated = governed - exceptions.keys()
    steps: list[Step] = []
    unwritten: list[Verdict] = []
    pending = False
    for namespace in sorted(isolated):
        place = known.places[namespace]
        fault = taken(place, domain, now)
        if fault is not None:
            unwritten.append(verdicts.false(TYPE, fault.reason, fault.message))
            continue
        if (fault := place.write_fault) is not None:
            unwritten.append(verdicts.false(TYPE, fault.reason, fault.message))
        manifest = policy_manifest(place.ref, domain, spec)
        pending = pending or place.fact is None or differs(manifest, place.fact)
        steps.append(Apply(manifest))
    steps += [each for each in removals(name, known) if each.ref.namespace not in isolated]
    verdict = _verdict([exceptions[each] for each in sorted(governed & exceptions.keys())])
    if pending:
        verdict = verdicts.false(TYPE, PENDING, "NetworkPolicies are being written")
    return replace(part, verdicts=(unwritten[0] if unwritten else verdict,), steps=tuple(steps))


def _exceptions(domain: TrustDomain, known: NetworkIsolation) -> dict[str, str]:
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
    with_pods = {each.ref.namespace for each in known.brokers if each.spec.workload is not None}
    others = sorted(known.registry.domains.items(), reverse=True)
    resolvers = {each.spec.network.dns.namespace: other for other, each in others}
    return {
        **{space: resolving.format(space, other) for space, other in resolvers.items()},
        **{space: unreadable.format(space, each) for space, each in _not_begun(known).items()},
        **{space: f"namespace {space} {of_broker}" for space in with_pods},
        **{space: f"namespace {space} {observed}" for space in known.registry.observing()},
        **dict.fromkeys((known.own_namespace, domain.spec.network.dns.namespace), ""),
    }


def _not_begun(known: NetworkIsolation) -> dict[str, str]:
    """Return the namespaces without isolation that have an unreadable identity or broker.

    Each has the kind and name of the first one: a broker before an identity.
    """
    found: dict[str, str] = {}
    for key in known.unread:
        if key.ref.namespace not in known.policies:
            found.setdefault(key.ref.namespace, str(key))
    return found


def removals(name: str, known: NetworkIsolation) -> Iterator[Remove]:
    """Yield the removal of every isolation of a domain, which may be deleted."""
    for namespace, found in sorted(known.policies.items()):
        if namespace not in known.registry.namespaces or not _settled(namespace, known):
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


def _verdict(exceptions: list[str]) -> Verdict:
    found = next(filter(None, exceptions), "")
    if found:
        return verdicts.true(TYPE, "IsolatedWithExceptions", found)
    message = "pods without an identity are denied in every governed namespace"
    return verdicts.true(TYPE, "Isolated", message)


def _settled(namespace: str, known: NetworkIsolation) -> bool:
    return namespace not in known.terminating and known.registry.governance(namespace).settled
