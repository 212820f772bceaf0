"""What declarations say about pairs without an edge: may they connect, and what stops them."""

from collections.abc import Mapping
from datetime import datetime

from troth.documents.probes import LABEL
from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector, Operator
from troth.trust.declarations.registry import Registry
from troth.trust.selectors import matches


def labels_for(selector: LabelSelector) -> dict[str, str] | None:
    """Return the fewest labels that meet a selector, and the label of probes; None if none do.

    Only these labels, and not those of a running pod, so that as few as possible other selectors
    (Services, disruption budgets, autoscalers) match the probing pod.
    """
    labels = {**selector.match_labels, LABEL: "true"}
    for each in selector.match_expressions:
        match each.operator:
            case Operator.IN:
                labels.setdefault(each.key, each.values[0])
            case Operator.EXISTS:
                labels.setdefault(each.key, "")
    return labels if matches(selector, labels) else None


def labels_of(registry: Registry, ref: Ref) -> tuple[dict[str, str], str]:
    """Return the labels of a pod of an identity, or why no pod can be taken for one of it."""
    labels = labels_for(registry.identities[ref].spec.workload.pod_selector)
    if labels is None:
        return {}, f"no labels satisfy the podSelector of {ref}"
    also = [
        other
        for other in sorted(registry.identities_in(ref.namespace))
        if other != ref and matches(registry.identities[other].spec.workload.pod_selector, labels)
    ]
    return (labels, "") if not also else ({}, f"{also[0]} selects the pods of {ref} too")


def may_connect(  # noqa: PLR0917 - a pair, its port and the time
    registry: Registry,
    callee: ServiceIdentity,
    port: str,
    namespace: str,
    labels: Mapping[str, str],
    now: datetime,
) -> bool:
    """Return whether the callee opens a port to a pod although no edge does, or may do so.

    Peers without an identity, probes and the metrics collector can connect. Whether a pod's address
    is in a network is not known before it runs, so a network counts as if it were.
    """
    here = callee.ref.namespace
    around = registry.namespaces.get(namespace, {})
    for entry in callee.spec.accepts:
        peer = entry.unverified
        if peer is None or port not in entry.ports or not peer.is_open(now):
            continue
        if peer.cidrs is not None:
            return True
        inside = (
            namespace == here
            if peer.namespace_selector is None
            else matches(peer.namespace_selector, around)
        )
        if inside and (peer.pod_selector is None or matches(peer.pod_selector, labels)):
            return True
    domain = registry.governance(here).domain
    network = domain.spec.network if domain else None
    if network is None:
        return True
    if port in callee.spec.exceptions.probes and network.probes is not None:
        return True
    collector = network.metrics if port in callee.spec.exceptions.metrics else None
    return (
        collector is not None
        and collector.namespace == namespace
        and matches(collector.pod_selector, labels)
    )


def is_isolated(registry: Registry, callee: ServiceIdentity, caller: Ref | None) -> bool:
    """Return whether the network stops connections without an edge, by either side's policy.

    A caller that may reach networks outside the cluster may thereby reach the callee's address.
    """
    if _enforces(registry, callee):
        return True
    identity = registry.identities.get(caller) if caller else None
    return (
        identity is not None
        and _enforces(registry, identity)
        and not any(call.to is None for call in identity.spec.calls)
    )


def _enforces(registry: Registry, identity: ServiceIdentity) -> bool:
    governed = registry.governance(identity.ref.namespace).domain is not None
    return governed and identity.spec.enforcement is Enforcement.ENFORCE
