"""What a ServiceIdentity that exists declares, so that a draft adds only what it lacks."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from troth.audit.drafting.ends import (
    NAMESPACE_NAME,
    ApiServer,
    Callee,
    Caller,
    Host,
    Network,
    PortDraft,
    Selected,
    Subject,
)
from troth.audit.facts.ranges import is_within
from troth.audit.scene import Scene
from troth.planning.network.external_peers import selector
from troth.resources.identity.peers import External, Unverified
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.selectors import LabelSelector
from troth.trust.selectors import matches


@dataclass(frozen=True, slots=True)
class Existing:
    """A ServiceIdentity that exists."""

    scene: Scene
    identity: ServiceIdentity

    @classmethod
    def of(cls, scene: Scene, subject: Subject) -> "Existing | None":
        """Return the identity of a subject, None if the subject is a draft."""
        if not subject.exists:
            return None
        return cls(scene, scene.world.registry.identities[subject.ref])

    def accepts(self, caller: Caller, port: PortDraft) -> bool:
        """Return whether `accepts` has a caller on a port."""
        if isinstance(caller, Subject):
            declared = self.scene.world.registry.declared(self.identity.ref)
            return port.name in declared.accepts.get(caller.ref, ())
        return any(
            entry.unverified is not None
            and port.name in entry.ports
            and self._covers(entry.unverified, caller)
            for entry in self.identity.spec.accepts
        )

    def excepts(self, name: str, port: PortDraft) -> bool:
        """Return whether the exceptions `probes` or `metrics` have a port."""
        return port.name in getattr(self.identity.spec.exceptions, name)

    def calls(self, callee: Callee, port: int, protocol: str) -> bool:
        """Return whether `calls` has a destination on a port."""
        if isinstance(callee, Subject):
            declared = self.scene.world.registry.declared(self.identity.ref)
            return callee.port(port, protocol).name in declared.calls.get(callee.ref, ())
        if isinstance(callee, ApiServer):
            return any(each.kubernetes_api for each in self.identity.spec.calls)
        return protocol == "TCP" and any(
            each.external is not None
            and port in each.external.ports
            and _has(each.external, callee)
            for each in self.identity.spec.calls
        )

    def _covers(self, declared: Unverified, caller: Caller) -> bool:
        if isinstance(caller, Network):
            return _within(caller.cidr, declared.cidrs or ())
        if not isinstance(caller, Selected) or declared.cidrs is not None:
            return False
        wanted = caller.peer()
        namespace = _only_namespace(wanted.get("namespaceSelector"))
        if declared.namespace_selector is None:
            if namespace != self.identity.ref.namespace:
                return False
        elif namespace is None:
            if selector(declared.namespace_selector) != wanted.get("namespaceSelector"):
                return False
        elif not matches(declared.namespace_selector, self.scene.labels_of_namespace(namespace)):
            return False
        return _selects(declared.pod_selector, wanted.get("podSelector"))


def _only_namespace(namespaces: Any) -> str | None:  # noqa: ANN401 - a selector as JSON
    """Return the namespace that a selector names, None if it is of another form."""
    match namespaces:
        case {"matchLabels": {**labels}, **more} if not more and [*labels] == [NAMESPACE_NAME]:
            return str(labels[NAMESPACE_NAME])
        case _:
            return None


def _selects(declared: LabelSelector | None, pods: Any) -> bool:  # noqa: ANN401 - as above
    """Return whether a selector selects all pods of another."""
    if declared is None:
        return True
    if selector(declared) == (pods or {}):
        return True
    labels = (pods or {}).get("matchLabels") or {}
    return not declared.match_expressions and matches(declared, labels)


def _has(external: External, callee: Callee) -> bool:
    if isinstance(callee, Host):
        return external.host == callee.name
    return isinstance(callee, Network) and _within(callee.cidr, external.cidrs)


def _within(cidr: str, declared: tuple[str, ...]) -> bool:
    own = ip_network(cidr)
    return any(is_within(own, other) for other in map(ip_network, declared))
