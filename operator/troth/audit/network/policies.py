"""NetworkPolicies as facts. They are read leniently, because the API server has validated them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from troth.audit.facts.members import items, mapping, text, texts
from troth.audit.facts.pods.parties import Party
from troth.audit.facts.ranges import network
from troth.audit.network.ports import ALL, LAST, NONE, Ports, Range, union
from troth.planning.network.external_peers import NAMESPACE_NAME
from troth.resources.references import Ref

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Peer = Party | IPAddress
"""Other end of a connection: pods, or an address outside the cluster."""
LabelsOf = Callable[[str], AbstractSet[tuple[str, str]]]
"""Returns the labels of a namespace."""


class Direction(StrEnum):
    """Direction of connections, as a NetworkPolicy sees them from the pods that it selects."""

    INGRESS = "Ingress"
    EGRESS = "Egress"

    @property
    def opposite(self) -> "Direction":
        """The direction as the other end sees it."""
        return Direction.EGRESS if self is Direction.INGRESS else Direction.INGRESS


@dataclass(frozen=True, slots=True)
class Selector:
    """Label selector. Without requirements it matches everything."""

    labels: frozenset[tuple[str, str]] = frozenset()
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> "Selector":
        """Return a selector as it is written."""
        return cls(
            frozenset(
                (name, text(labels, name))
                for labels in [mapping(written, "matchLabels")]
                for name in labels
            ),
            tuple(
                (text(each, "key"), text(each, "operator"), tuple(texts(each, "values")))
                for _, each in items(written, "matchExpressions")
            ),
        )

    def matches(self, items: AbstractSet[tuple[str, str]]) -> bool:
        """Return whether an object with these labels matches."""
        if not self.labels <= items:
            return False
        if not self.expressions:
            return True
        labels = dict(items)
        return all(_meets(labels, *each) for each in self.expressions)

    def __str__(self) -> str:
        texts = [f"{key}={value}" for key, value in sorted(self.labels)]
        texts += [f"{key} {how} {','.join(among)}".rstrip() for key, how, among in self.expressions]
        return ", ".join(texts)


def _meets(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


@dataclass(frozen=True, slots=True)
class Term:
    """One peer of a rule. With neither selectors nor a block it is everybody."""

    field: str
    """Path in the NetworkPolicy, such as `spec.ingress[0].from[1]`."""
    namespaces: Selector | None = None
    namespace: str = ""
    """Namespace of the pods if there is no selector of namespaces."""
    pods: Selector | None = None
    block: IPNetwork | None = None
    excepted: tuple[IPNetwork, ...] = ()

    @property
    def everybody(self) -> bool:
        """Whether the rule has no peers, which admits every peer."""
        return self.pods is None and self.block is None

    def matches(self, peer: Peer, labels_of: LabelsOf) -> bool:
        """Return whether the term describes a peer.

        A block describes pods only if it has every address, because the address of a pod changes.
        """
        if self.everybody:
            return True
        if self.block is not None:
            return _within(self.block, self.excepted, peer)
        if not isinstance(peer, Party):
            return False
        if not self.matches_namespace(peer.namespace, labels_of):
            return False
        return self.pods is None or self.pods.matches(peer.items)

    def matches_namespace(self, namespace: str, labels_of: LabelsOf) -> bool:
        """Return whether the term may describe pods of a namespace."""
        if self.namespaces is None:
            return self.pods is None or namespace == self.namespace
        return self.namespaces.matches(labels_of(namespace))

    @property
    def only_namespace(self) -> str | None:
        """The only namespace whose pods the term may describe, None if there may be several."""
        if self.namespaces is None:
            return None if self.pods is None else self.namespace
        return dict(self.namespaces.labels).get(NAMESPACE_NAME)

    def __str__(self) -> str:
        if self.everybody:
            return "every pod and address"
        if self.block is not None:
            but = f" except {', '.join(map(str, self.excepted))}" if self.excepted else ""
            return f"{self.block}{but}"
        pods = f"the pods {self.pods}" if self.pods is not None and str(self.pods) else "every pod"
        if self.namespaces is None:
            return f"{pods} of namespace {self.namespace}"
        named = self.only_namespace
        if named is not None and len(self.namespaces.labels) == 1:
            return f"{pods} of namespace {named}"
        spaces = f"the namespaces {self.namespaces}" if str(self.namespaces) else "every namespace"
        return f"{pods} of {spaces}"


def _within(block: IPNetwork, excepted: tuple[IPNetwork, ...], peer: Peer) -> bool:
    if isinstance(peer, Party):
        return block.prefixlen == 0 and not excepted and block.version == peer.version
    return (
        peer.version == block.version
        and peer in block
        and not any(peer in each for each in excepted if each.version == peer.version)
    )


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule: its peers, and its ports."""

    peers: tuple[Term, ...]
    ports: tuple[Mapping[str, Any], ...] = field(repr=False)
    """Ports as they are written; none stands for all."""

    def ports_at(self, destination: Peer) -> Ports:
        """Return the ports that the rule opens at a destination, which resolves their names."""
        if not self.ports:
            return ALL
        named = destination.named if isinstance(destination, Party) else ()
        return union(part for each in self.ports for part in _ranges(each, named))


def _ranges(port: Mapping[str, Any], named: tuple[tuple[str, str, int], ...]) -> Iterator[Range]:
    protocol, number, last = text(port, "protocol") or "TCP", port.get("port"), port.get("endPort")
    if number is None:
        yield Range(protocol, 1, LAST)
    elif isinstance(number, int):
        yield Range(protocol, number, last if isinstance(last, int) else number)
    else:
        for name, of, each in named:
            if (name, of) == (number, protocol):
                yield Range(protocol, each, each)


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy."""

    ref: Ref
    pods: Selector
    rules: Mapping[Direction, tuple[PolicyRule, ...]]
    """Rules of each direction that the policy isolates."""

    def allowed(self, direction: Direction, mine: Party, peer: Peer, labels_of: LabelsOf) -> Ports:
        """Return the ports of the destination that the policy allows between two ends."""
        rules = self.rules.get(direction, ())
        destination = mine if direction is Direction.INGRESS else peer
        return union(
            part
            for rule in rules
            if any(term.matches(peer, labels_of) for term in rule.peers)
            for part in rule.ports_at(destination)
        )

    def blocks(self, direction: Direction) -> Iterator[IPNetwork]:
        """Yield the blocks, and their exceptions, of a direction's rules."""
        for rule in self.rules.get(direction, ()):
            for term in rule.peers:
                if term.block is not None:
                    yield term.block
                    yield from term.excepted


def policy(manifest: Mapping[str, Any]) -> Policy:
    """Return the facts of a NetworkPolicy."""
    ref, spec = Ref.of(manifest), mapping(manifest, "spec")
    types = texts(spec, "policyTypes") or (
        ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    )
    return Policy(
        ref,
        Selector.of(mapping(spec, "podSelector")),
        {
            each: tuple(_rules(items(spec, each.lower()), each, ref.namespace))
            for each in Direction
            if each in types
        },
    )


def _rules(
    rules: Iterable[tuple[int, Mapping[str, Any]]], direction: Direction, namespace: str
) -> Iterator[PolicyRule]:
    side = "from" if direction is Direction.INGRESS else "to"
    for number, rule in rules:
        field = f"spec.{direction.lower()}[{number}]"
        peers = items(rule, side)
        terms = [
            term
            for place, each in peers
            if (term := _term(f"{field}.{side}[{place}]", each, namespace)) is not None
        ]
        ports = tuple(each for _, each in items(rule, "ports"))
        yield PolicyRule(tuple(terms) if rule.get(side) else (Term(field),), ports)


def _term(field: str, peer: Mapping[str, Any], namespace: str) -> Term | None:
    """Return a peer, None for a block that is no network."""
    if peer.get("ipBlock") is not None:
        block = network(text(peer, "ipBlock", "cidr"))
        excepted = [network(each) for each in texts(peer, "ipBlock", "except")]
        if block is None:
            return None
        return Term(field, block=block, excepted=tuple(each for each in excepted if each))
    own = peer.get("namespaceSelector") is None
    return Term(
        field,
        None if own else Selector.of(mapping(peer, "namespaceSelector")),
        namespace,
        Selector.of(mapping(peer, "podSelector")),
    )


def all_allowed(
    policies: Iterable[Policy], direction: Direction, mine: Party, peer: Peer, labels_of: LabelsOf
) -> Ports:
    """Return the ports that any of several policies allows. Policies add up."""
    found = [part for each in policies for part in each.allowed(direction, mine, peer, labels_of)]
    return union(found) if found else NONE
