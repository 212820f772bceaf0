"""Who can reach a port of a workload, as NetworkPolicies, identities and Istio restrict it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.audit.facts.ingress.gateways import MESH_ROOT
from troth.audit.facts.members import items, mapping, member, text, texts
from troth.audit.facts.pods.workloads import Workload
from troth.audit.facts.ranges import is_open
from troth.audit.finding import Evidence, Object
from troth.audit.scene import Scene
from troth.resources.identity.peers import Accepts
from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector, Operator

_NAME = "kubernetes.io/metadata.name"
"""Label of every namespace."""
_NEGATIVE = (Operator.EXISTS, Operator.DOES_NOT_EXIST, Operator.NOT_IN)
_WHO = frozenset({"principals", "requestPrincipals", "namespaces", "serviceAccounts"})
"""Members of a source in an AuthorizationPolicy that name callers, beside their addresses."""
_NOT_WHO = frozenset({"notPrincipals", "notRequestPrincipals"})


@dataclass(frozen=True, slots=True)
class Opening:
    """Callers beyond a gateway that reach a port, and the evidence."""

    who: str
    """Callers, as the subject of a sentence, such as `every pod`."""
    evidence: Evidence


def opening(scene: Scene, workload: Workload, port: int) -> Opening | None:
    """Return what lets more than chosen peers reach a port; None if only such peers reach it.

    `port` 0 is an unknown port. A policy that admits several peers by their labels restricts.
    """
    namespace = workload.object.ref.namespace
    if _istio_restricts(scene, workload):
        return None
    isolated = False
    for identity in enforced_identities(scene, workload):
        isolated = True
        for number, accepted in accepted_at(identity, port):
            if who := wide(accepted):
                place = Object("ServiceIdentity", identity.ref)
                return Opening(who, Evidence(place, f"spec.accepts[{number}]", f"admits {who}"))
    for manifest in scene.objects("NetworkPolicy", namespace):
        spec = mapping(manifest, "spec")
        types = texts(spec, "policyTypes") or ["Ingress"]
        if "Ingress" not in types or not selects(spec.get("podSelector"), workload.labels):
            continue
        isolated = True
        place = Object("NetworkPolicy", Ref.of(manifest))
        for number, rule in items(spec, "ingress"):
            who = _admitted(scene, workload, rule, port)
            if who:
                return Opening(who, Evidence(place, f"spec.ingress[{number}]", f"admits {who}"))
    if isolated:
        return None
    shows = "no NetworkPolicy and no enforced ServiceIdentity selects its pods"
    return Opening("every pod", Evidence(workload.object, "", shows))


def enforced_identities(scene: Scene, workload: Workload) -> Iterator[ServiceIdentity]:
    """Yield the identities whose NetworkPolicy holds for a workload.

    Without any TrustDomain in the scene, it is elsewhere and governs the namespace.
    """
    registry, namespace = scene.world.registry, workload.object.ref.namespace
    if registry.domains and not scene.is_governed(namespace):
        return
    for ref in scene.identities_of(namespace, workload.labels):
        identity = registry.identities[ref]
        if identity.spec.enforcement is Enforcement.ENFORCE:
            yield identity


def accepted_at(identity: ServiceIdentity, port: int) -> Iterator[tuple[int, Accepts]]:
    """Yield what an identity accepts on a port, with the positions; 0 stands for any port."""
    named = {each.name for each in identity.spec.workload.ports if port in (0, each.port)}
    for number, each in enumerate(identity.spec.accepts):
        if named.intersection(each.ports):
            yield number, each


def selects(selector: object, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector of another API matches; an empty one matches everything."""
    if not isinstance(selector, dict):
        return False
    wanted = mapping(selector, "matchLabels")
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_meets(each, labels) for _, each in items(selector, "matchExpressions"))


def _meets(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = text(requirement, "key"), texts(requirement, "values")
    match requirement.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def wide(accepted: Accepts) -> str:
    """Return the callers that an entry admits, empty if it chooses them."""
    peer = accepted.unverified
    if peer is None:
        return ""
    if peer.cidrs is not None:
        return "every address" if is_open(peer.cidrs) else ""
    namespaces, pods = peer.namespace_selector, peer.pod_selector
    if namespaces is not None and _selects_most(namespaces) and _selects_most(pods):
        return "pods of every namespace"
    return ""


def _selects_most(selector: LabelSelector | None) -> bool:
    if selector is None:
        return True
    negative = all(each.operator in _NEGATIVE for each in selector.match_expressions)
    return not selector.match_labels and negative


def _admitted(scene: Scene, workload: Workload, rule: Mapping[str, Any], port: int) -> str:
    """Return the peers that a rule of a policy admits to a port, empty if it chooses them."""
    ports = items(rule, "ports")
    if ports and port and not any(_covers(each, port, workload) for _, each in ports):
        return ""
    if not rule.get("from"):
        return "everybody"
    for _, peer in items(rule, "from"):
        namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        if is_open([text(peer, "ipBlock", "cidr")]):
            return "every address"
        if isinstance(namespaces, dict) and _is_empty(namespaces, _NAME) and _is_empty(pods):
            return "pods of every namespace"
        if namespaces is None and isinstance(pods, dict) and _is_empty(pods):
            here = workload.object.ref.namespace
            if any(each.object != workload.object for each in scene.workloads_in(here)):
                return "every pod of its namespace"
    return ""


def _covers(described: Mapping[str, Any], port: int, workload: Workload) -> bool:
    if described.get("protocol") not in (None, "TCP"):
        return False
    first, last = described.get("port"), described.get("endPort")
    if isinstance(first, str):
        named = {each.number for each in workload.spec.ports if each.name == first}
        return port in named
    if not isinstance(first, int):
        return True
    return first <= port <= (last if isinstance(last, int) else first)


def _is_empty(selector: object, always: str = "") -> bool:
    """Return whether a selector requires nothing but a label `always` that every object has."""
    written = mapping({"it": selector}, "it")
    return not written.get("matchLabels") and all(
        bool(always) and each.get("key") == always and each.get("operator") == "Exists"
        for _, each in items(written, "matchExpressions")
    )


def _istio_restricts(scene: Scene, workload: Workload) -> bool:
    """Return whether AuthorizationPolicies of Istio admit only authenticated callers.

    Policies that allow add up, so each rule of each of them must name callers. Without rules, a
    policy admits nobody.
    """
    allowed: list[Mapping[str, Any]] = []
    allowing = False
    for spec in _authorization(scene, workload):
        rules = [rule for _, rule in items(spec, "rules")]
        match text(spec, "action") or "ALLOW":
            case "ALLOW":
                allowing = True
                allowed += rules
            case "DENY" if any(map(_denies_nameless, rules)):
                return True
    return allowing and all(map(_names_callers, allowed))


def _authorization(scene: Scene, workload: Workload) -> Iterator[Mapping[str, Any]]:
    """Yield the specs of the AuthorizationPolicies that select a workload's pods."""
    for namespace in dict.fromkeys((MESH_ROOT, workload.object.ref.namespace)):
        for manifest in scene.objects("AuthorizationPolicy", namespace):
            spec = mapping(manifest, "spec")
            selected = member(spec, "selector", "matchLabels") or {}
            bound = spec.get("targetRefs") or spec.get("targetRef")
            if not bound and selects({"matchLabels": selected}, workload.labels):
                yield spec


def _sources(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mapping(each, "source") for _, each in items(rule, "from")]


def _names_callers(rule: Mapping[str, Any]) -> bool:
    sources = _sources(rule)
    return bool(sources) and all(
        any(_are_chosen(source, name) for name in _WHO) for source in sources
    )


def _denies_nameless(rule: Mapping[str, Any]) -> bool:
    """Return whether a rule that denies leaves only callers with a name, whatever they request."""
    if rule.get("to") or rule.get("when"):
        return False
    return not rule.get("from") or any(
        source and source.keys() <= _NOT_WHO and all(_are_chosen(source, name) for name in source)
        for source in _sources(rule)
    )


def _are_chosen(source: Mapping[str, Any], name: str) -> bool:
    """Return whether a member of a source names callers. `*` is every workload of the mesh.

    As the principal of a request it is every user with a token, which a gateway has verified.
    """
    names = texts(source, name)
    return bool(names) and ("*" not in names or name.lower().endswith("requestprincipals"))
