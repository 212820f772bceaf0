"""Ends of an edge, and the clues for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from troth.audit.finding import Object
from troth.resources.references import Ref

NAMESPACE_NAME = "kubernetes.io/metadata.name"


class PortDraft(NamedTuple):
    """Port of a workload."""

    name: str
    number: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Subject:
    """Workloads that have one identity: a draft, or a ServiceIdentity that exists."""

    ref: Ref
    """Namespace and name of the identity."""
    account: str
    selector: Mapping[str, Any] = field(hash=False, repr=False)
    """Label selector of the pods, in its Kubernetes form."""
    workloads: tuple[Object, ...]
    ports: tuple[PortDraft, ...]
    """Ports that its containers, or the ServiceIdentity, declare."""
    exists: bool = False
    notes: tuple[str, ...] = ()
    """Sentences for the reader of the draft."""

    def port(self, number: int, protocol: str) -> PortDraft:
        """Return the port of that number, with a name of its own if nothing declares it."""
        for each in self.ports:
            if (each.number, each.protocol) == (number, protocol):
                return each
        prefix = "port" if protocol == "TCP" else protocol.lower()
        return PortDraft(f"{prefix}-{number}", number, protocol)

    def declares(self, number: int, protocol: str) -> bool:
        """Return whether the port is declared."""
        return self.port(number, protocol) in self.ports

    def numbers(self, target: object, protocol: str) -> list[int]:
        """Return the port numbers that a number or a name of a port means."""
        if isinstance(target, int):
            return [target]
        return [
            each.number for each in self.ports if (each.name, each.protocol) == (target, protocol)
        ]


@dataclass(frozen=True, slots=True)
class Selected:
    """Pods without an identity, by label selectors as JSON texts; empty for none."""

    namespaces: str
    pods: str

    @classmethod
    def of(cls, namespaces: object, pods: object) -> "Selected":
        """Return the pods of selectors in their Kubernetes form."""
        return cls(*("" if each is None else json.dumps(each) for each in (namespaces, pods)))

    @classmethod
    def workload(cls, namespace: str, selector: Mapping[str, Any]) -> "Selected":
        """Return the pods of a workload."""
        return cls.of({"matchLabels": {NAMESPACE_NAME: namespace}}, selector)

    def peer(self) -> dict[str, Any]:
        """Return the selectors as members of `unverified`."""
        pairs = (("namespaceSelector", self.namespaces), ("podSelector", self.pods))
        return {name: json.loads(text) for name, text in pairs if text}


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses that are no pod's."""

    cidr: str


@dataclass(frozen=True, slots=True)
class Host:
    """Destination outside the cluster of which only the name is known."""

    name: str


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The cluster's API server."""


@dataclass(frozen=True, slots=True)
class NodeItself:
    """A node: its kubelet, or a pod in the host network."""


Caller = Subject | Selected | Network | NodeItself
Callee = Subject | Network | Host | ApiServer


@dataclass(frozen=True, slots=True)
class Clue:
    """What shows an edge: a sentence, or connections that were seen."""

    text: str = ""
    connections: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    seen_by: str = ""

    def sentence(self) -> str:
        """Return the clue for a comment."""
        if self.first_seen is None or self.last_seen is None:
            return self.text
        first, last = (
            each.strftime("%Y-%m-%d %H:%M") for each in (self.first_seen, self.last_seen)
        )
        times = "connection" if self.connections == 1 else "connections"
        return (
            f"{self.connections} {times} since {first}, last at {last} UTC, seen by {self.seen_by}"
        )


def together(clues: list[Clue]) -> list[Clue]:
    """Return clues without duplicates; those of one observer are added up and come first."""
    seen: dict[str, Clue] = {}
    texts: dict[str, Clue] = {}
    for each in clues:
        if each.first_seen is None or each.last_seen is None:
            texts.setdefault(each.text, each)
            continue
        known = seen.get(each.seen_by, each)
        assert known.first_seen is not None
        assert known.last_seen is not None
        seen[each.seen_by] = Clue(
            "",
            each.connections + (known.connections if each.seen_by in seen else 0),
            min(known.first_seen, each.first_seen),
            max(known.last_seen, each.last_seen),
            each.seen_by,
        )
    return [*seen.values(), *texts.values()]


@dataclass(frozen=True, slots=True)
class Edge:
    """One clue for a caller that calls a port."""

    caller: Caller
    callee: Callee
    port: int
    protocol: str
    clue: Clue


@dataclass(frozen=True, slots=True)
class Note:
    """What shows something that no entry can express."""

    subject: Subject
    text: str
