"""Resources that a fix drafts: valid manifests in which a person still decides some values."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from troth.audit.drafting.selectors import stable
from troth.audit.facts.pods.pod_spec import Port
from troth.audit.facts.pods.running import Running
from troth.audit.facts.pods.workloads import Workload
from troth.audit.scene import Manifest, Scene
from troth.resources.identity.spec import Enforcement, ServiceIdentity
from troth.resources.metadata import API_VERSION, NAME_LIMIT
from troth.resources.references import Ref
from troth.trust.selectors import matches

_USUAL = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")
_ALTERNATIVES = ("app", "k8s-app", "name")
_NOT_IN_NAMES = re.compile("[^a-z0-9-]+")
_LONGEST_PORT = 15


def named(text: str, limit: int = NAME_LIMIT) -> str:
    """Return a text as the name of a resource."""
    plain = _NOT_IN_NAMES.sub("-", text[:256].lower())[:limit].strip("-")
    return plain or "replace-me"


def port_name(port: Port | None, number: int) -> str:
    """Return the name of a port, as a ServiceIdentity writes it."""
    given = named(port.name if port else "", _LONGEST_PORT)
    return given if port is not None and port.name == given else f"port-{number}"


def ports_of(workload: Workload | Running, number: int = 0) -> list[dict[str, Any]]:
    """Return the ports of a workload as an identity declares them, and one more of TCP."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for each in workload.spec.ports[:16]:
        place = each.number, each.protocol
        name = port_name(each, each.number)
        if each.protocol == "TCP":
            found.setdefault(place, {"name": name, "port": each.number})
        elif each.protocol == "UDP":
            found.setdefault(place, {"name": name, "port": each.number, "protocol": "UDP"})
    if number:
        found.setdefault((number, "TCP"), {"name": port_name(None, number), "port": number})
    names = {each["name"] for each in found.values()}
    if len(names) < len(found):  # two containers name their ports alike
        return [
            {**each, "name": f"{protocol.lower()}-{number}"}
            for (number, protocol), each in found.items()
        ]
    return list(found.values())


def selector_of(scene: Scene, workloads: Iterable[Workload | Running]) -> dict[str, str]:
    """Return labels that all these workloads have and, if possible, no other of the namespace."""
    chosen = list(workloads)
    common = dict(chosen[0].labels)
    for each in chosen[1:]:
        common = {key: value for key, value in common.items() if each.labels.get(key) == value}
    kept = stable(common)
    usual = {key: kept[key] for key in _USUAL if key in kept}
    choices = [usual, *({key: kept[key]} for key in _ALTERNATIVES if key in kept), kept]
    here = {each.object for each in chosen}
    others = [
        each.labels
        for each in scene.workloads_in(chosen[0].object.ref.namespace)
        if each.object not in here
    ]
    for labels in choices:
        if labels and not any(labels.items() <= dict(each).items() for each in others):
            return labels
    return dict(list(kept.items())[:16]) or {"app": named(chosen[0].object.ref.name)}


def identity_skeleton(
    ref: Ref,
    account: str,
    labels: Mapping[str, str],
    ports: list[dict[str, Any]],
    **spec: Any,  # noqa: ANN401 - members of the spec
) -> Manifest:
    """Return a ServiceIdentity that only observes until a person enforces it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceIdentity",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {
            "workload": {
                "serviceAccountName": account,
                "podSelector": {"matchLabels": dict(labels)},
                "ports": ports,
            },
            "authentication": {"mtls": {}},
            **spec,
            "enforcement": "Observe",
        },
    }


def identity_of(scene: Scene, workload: Workload) -> ServiceIdentity | None:
    """Return the first identity that selects a workload's pods."""
    ref = next(scene.identities_of(workload.object.ref.namespace, workload.labels), None)
    return None if ref is None else scene.world.registry.identities[ref]


def identity_name(workload: Workload) -> Ref:
    """Return the name that the identity of a workload gets."""
    return Ref(workload.object.ref.namespace, named(workload.object.ref.name))


def broker_for(scene: Scene, namespace: str) -> Ref | None:
    """Return the MessageBroker that a namespace may use, None if there is not exactly one."""
    labels = scene.labels_of_namespace(namespace)
    found = [
        ref
        for ref, broker in sorted(scene.world.brokers.messaging.brokers.items())
        if matches(broker.spec.allowed_namespaces, labels)
    ]
    return found[0] if len(found) == 1 else None


def ungoverned_step(scene: Scene, namespace: str) -> tuple[str, ...]:
    """Return the step that lets Troth issue identities in a namespace, if it needs one."""
    if scene.is_governed(namespace):
        return ()
    return (
        f"Let a TrustDomain govern the namespace {namespace}; until then, Troth issues nothing.",
    )


ENFORCE_STEP = (
    "Add the callers and callees of the workload to accepts and calls of its ServiceIdentity, "
    "compare with its status.traffic, and then set enforcement: Enforce."
)


def observing_step(identity: ServiceIdentity) -> tuple[str, ...]:
    """Return the step before an identity that only observes is enforced."""
    return (ENFORCE_STEP,) if identity.spec.enforcement is Enforcement.OBSERVE else ()
