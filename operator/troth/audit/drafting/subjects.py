"""Groups workloads into subjects: one for each ServiceAccount, as each may have one identity."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from troth.audit.drafting.ends import PortDraft, Subject
from troth.audit.drafting.selectors import Labels, overlapping, selector_for, stable
from troth.audit.exposure.running import running
from troth.audit.facts.pods.workloads import Workload
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.planning.network.external_peers import selector as selector_manifest
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.declarations.watched import Watched, not_watched
from troth.trust.selectors import matches

SYSTEM = ("kube-system", "kube-public", "kube-node-lease")
"""Namespaces of the cluster itself, which are drafted only on request."""
DEFAULT = "default"
_PORT_NAME = re.compile("(?=.*[a-z])[a-z0-9-]{1,15}")


@dataclass(slots=True)
class Directory:
    """All subjects, and the members without one, by what leads to them."""

    watched: Watched
    """Namespaces that Troth watches. Others have no subjects."""
    _members: dict[Object, Workload] = field(default_factory=dict)
    _inside: dict[str, list[Workload]] = field(default_factory=dict)
    _of: dict[Object, Subject] = field(default_factory=dict)
    _labels: dict[str, Labels] = field(default_factory=dict)

    def subject_of(self, workload: Object) -> Subject | None:
        """Return the subject of a workload."""
        return self._of.get(workload)

    def subjects(self) -> list[Subject]:
        """Return all subjects, by namespace and name."""
        return sorted(set(self._of.values()), key=lambda each: each.ref)

    @property
    def members(self) -> Iterable[Workload]:
        """All workloads."""
        return self._members.values()

    def members_in(self, namespace: str) -> list[Workload]:
        """Return the workloads of a namespace."""
        return self._inside.get(namespace, [])

    def member(self, workload: Object) -> Workload | None:
        """Return a workload."""
        return self._members.get(workload)

    def selected(self, namespaces: Iterable[str], pods: LabelSelector) -> list[Workload]:
        """Return the workloads whose pods a selector selects in these namespaces."""
        found = (each for namespace in namespaces for each in self.members_in(namespace))
        return [each for each in found if matches(pods, each.labels)]

    def add_namespace(self, name: str, labels: Labels, members: list[Workload]) -> None:
        """Take in a namespace and its workloads."""
        self._labels[name] = labels
        self._inside[name] = members
        self._members |= {each.object: each for each in members}

    def assign(self, workload: Object, subject: Subject) -> None:
        """Make a workload one of a subject."""
        self._of[workload] = subject

    def why_no_draft(self, workload: Object) -> str:
        """Return why a workload without a subject gets no draft, and what to do, as a clause."""
        namespace = workload.ref.namespace
        if namespace not in self.watched:
            why = not_watched(namespace)
            return f"which gets no draft. {why}, or declare the call under external."
        return (
            f"which has no ServiceIdentity and gets no draft. Add --namespace {namespace}, or "
            "declare the call under external."
        )

    def namespaces(self, selector: LabelSelector) -> list[str]:
        """Return the namespaces that a selector selects."""
        return [name for name, labels in self._labels.items() if matches(selector, labels)]


def directory(scene: Scene, namespaces: Iterable[str] = ()) -> Directory:
    """Return the subjects of a scene.

    Workloads that a ServiceIdentity selects have that one. Others are drafted if they are in one of
    `namespaces`; without any, in all that Troth watches but those of the cluster and of Troth
    itself.
    """
    everywhere, watched = scene.namespaces(), scene.world.registry.watched
    wanted = set(namespaces) or {*everywhere} - {*SYSTEM, scene.own_namespace}
    found = Directory(watched)
    for namespace in everywhere:
        members = running(scene, namespace)
        found.add_namespace(namespace, scene.labels_of_namespace(namespace), members)
        free = []
        for each in members:
            known = next(iter(scene.identities_of(namespace, each.labels)), None)
            if known is not None:
                found.assign(each.object, _existing(scene, known))
            elif not each.spec.host_network:  # NetworkPolicies do not apply to it
                free.append(each)
        if namespace in wanted and namespace in watched:
            for subject in _drafts(scene, namespace, members, free):
                for workload in subject.workloads:
                    found.assign(workload, subject)
    return found


def _existing(scene: Scene, ref: Ref) -> Subject:
    identity: ServiceIdentity = scene.world.registry.identities[ref]
    workload = identity.spec.workload
    ports = tuple(PortDraft(each.name, each.port, each.protocol.value) for each in workload.ports)
    return Subject(
        ref,
        workload.service_account_name,
        selector_manifest(workload.pod_selector),
        (),
        ports,
        exists=True,
    )


def _drafts(
    scene: Scene, namespace: str, members: list[Workload], free: list[Workload]
) -> Iterator[Subject]:
    accounts: dict[str, list[Workload]] = {}
    for each in free:
        accounts.setdefault(each.spec.service_account, []).append(each)
    taken = {ref.name for ref in scene.world.registry.identities_in(namespace)}
    for account, group in sorted(accounts.items()):
        subject = _draft(namespace, account, group, members, taken)
        if subject is not None:
            taken.add(subject.ref.name)
            yield subject


def _draft(
    namespace: str, account: str, group: list[Workload], members: list[Workload], taken: set[str]
) -> Subject | None:
    own = [each.labels for each in group]
    rest = [each for each in members if each not in group and not each.spec.host_network]
    selector = selector_for(own, [each.labels for each in rest])
    if selector is None:
        return None
    name = account if len(group) > 1 and account != DEFAULT else group[0].object.ref.name
    while name in taken:
        name = f"{name}-draft"
    also = [str(each.object) for each in rest if overlapping(selector, each.labels)]
    return Subject(
        Ref(namespace, name),
        account,
        selector,
        tuple(each.object for each in group),
        tuple(_ports(group)),
        notes=tuple(_notes(account, group, also)),
    )


def _notes(account: str, group: list[Workload], also: list[str]) -> Iterator[str]:
    if len(group) > 1:
        names = ", ".join(str(each.object) for each in group)
        yield (
            f"Split: {names} share the ServiceAccount {account}, so they share one identity. Give "
            "each a ServiceAccount of its own, and run `troth learn` again."
        )
    if account == DEFAULT:
        yield (
            "Review: it runs as the ServiceAccount default, which every pod gets that names none. "
            "Give it a ServiceAccount of its own, and name that under serviceAccountName."
        )
    if also:
        yield (
            f"Review: podSelector also selects {', '.join(also)}, because no label tells them "
            "apart. Add a label to the pod template."
        )


def _ports(group: list[Workload]) -> Iterator[PortDraft]:
    names: set[str] = set()
    seen: set[tuple[int, str]] = set()
    for member in group:
        for port in member.spec.ports:
            key = port.number, port.protocol
            if key in seen or port.protocol not in ("TCP", "UDP"):
                continue
            seen.add(key)
            name = port.name
            if name in names or not _PORT_NAME.fullmatch(name):
                prefix = "port" if port.protocol == "TCP" else "udp"
                name = f"{prefix}-{port.number}"
            names.add(name)
            yield PortDraft(name, *key)


def outside(member: Workload) -> Mapping[str, Any]:
    """Return a selector for the pods of a workload that has no identity."""
    return {"matchLabels": dict(list(stable(member.labels).items())[:2])}
