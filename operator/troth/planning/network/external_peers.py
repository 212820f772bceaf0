"""NetworkPolicy peers for clients without an identity.

Every such peer excludes the workload's own pods. The workload loses nothing, because egress between
its pods is closed. But some enforcers (kube-router 2.1) apply an ingress rule to egress too if the
policy selects both ends, and would open one replica to another. Only labels can express the
exclusion, so a CIDR that covers the workload's own pods is not narrowed.
"""

from collections.abc import Iterable, Iterator

from troth.resources.identity.peers import Unverified
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.selectors import LabelSelector, Operator, Requirement
from troth.trust.selectors import overlap
from troth.world.facts.objects import Manifest

NAMESPACE_NAME = "kubernetes.io/metadata.name"
_OPPOSITES = {
    Operator.IN: Operator.NOT_IN,
    Operator.NOT_IN: Operator.IN,
    Operator.EXISTS: Operator.DOES_NOT_EXIST,
    Operator.DOES_NOT_EXIST: Operator.EXISTS,
}


def selector(declared: LabelSelector) -> Manifest:
    """Return a label selector in its Kubernetes form, without empty fields."""
    written: Manifest = {}
    if declared.match_labels:
        written["matchLabels"] = dict(declared.match_labels)
    if declared.match_expressions:
        written["matchExpressions"] = [
            {"key": each.key, "operator": each.operator.value}
            | ({"values": list(each.values)} if each.values else {})
            for each in declared.match_expressions
        ]
    return written


def pods_in(namespace: str, pods: LabelSelector) -> Manifest:
    """Return the NetworkPolicy peer for these pods of a namespace."""
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
        "podSelector": selector(pods),
    }


def unverified_peers(identity: ServiceIdentity, declared: Unverified) -> Iterator[Manifest]:
    """Yield the NetworkPolicy peers of an `unverified` entry, without the workload's own pods."""
    if declared.cidrs is not None:
        for cidr in declared.cidrs:
            yield {"ipBlock": {"cidr": cidr}}
        return
    here, pods = identity.ref.namespace, declared.pod_selector
    if declared.namespace_selector is None:
        assert pods is not None
        yield from ({"podSelector": each} for each in _without_own(identity, pods))
        return
    namespaces = declared.namespace_selector
    own = LabelSelector(match_labels={NAMESPACE_NAME: here})
    if not overlap(namespaces, own) or not _selects_own(identity, pods):
        yield _peer(namespaces, selector(pods) if pods else None)
        return
    yield _peer(_and(namespaces, _named(Operator.NOT_IN, here)), selector(pods) if pods else None)
    inside = _and(namespaces, _named(Operator.IN, here))
    yield from (_peer(inside, each) for each in _without_own(identity, pods))


def collectors(
    identity: ServiceIdentity, namespace: str, pods: LabelSelector
) -> Iterator[Manifest]:
    """Yield the peers that collect metrics: a namespace's pods without the workload's own."""
    if namespace != identity.ref.namespace:
        yield pods_in(namespace, pods)
        return
    for each in _without_own(identity, pods):
        yield {**pods_in(namespace, pods), "podSelector": each}


def _selects_own(identity: ServiceIdentity, pods: LabelSelector | None) -> bool:
    return pods is None or overlap(pods, identity.spec.workload.pod_selector)


def _without_own(identity: ServiceIdentity, pods: LabelSelector | None) -> Iterator[Manifest]:
    """Yield selectors that together match `pods` except the workload's own pods."""
    if pods is not None and not _selects_own(identity, pods):
        yield selector(pods)
        return
    for requirement in _opposites(identity.spec.workload.pod_selector):
        yield selector(_and(pods, requirement))


def _opposites(own: LabelSelector) -> Iterable[Requirement]:
    """Yield the opposite of each requirement: a pod that does not match meets at least one."""
    for key, value in own.match_labels.items():
        yield Requirement(key=key, operator=Operator.NOT_IN, values=(value,))
    for asked in own.match_expressions:
        yield Requirement(key=asked.key, operator=_OPPOSITES[asked.operator], values=asked.values)


def _named(operator: Operator, namespace: str) -> Requirement:
    return Requirement(key=NAMESPACE_NAME, operator=operator, values=(namespace,))


def _and(declared: LabelSelector | None, requirement: Requirement) -> LabelSelector:
    if declared is None:
        return LabelSelector(match_expressions=(requirement,))
    asked = (*declared.match_expressions, requirement)
    return declared.model_copy(update={"match_expressions": asked})


def _peer(namespaces: LabelSelector, pods: Manifest | None) -> Manifest:
    peer: Manifest = {"namespaceSelector": selector(namespaces)}
    if pods is not None:
        peer["podSelector"] = pods
    return peer
