"""What the network allows between the parties of a scene, and what each policy adds to it."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network

from troth.audit.facts.pods.parties import Party
from troth.audit.network.policies import (
    Direction,
    IPAddress,
    IPNetwork,
    Peer,
    Policy,
    PolicyRule,
    Selector,
    Term,
    all_allowed,
)
from troth.audit.network.ports import ALL, NONE, Ports, common, minus
from troth.resources.references import Ref

_EVERY_ADDRESS: Mapping[int, IPNetwork] = {
    4: ip_network("0.0.0.0/0"),
    6: ip_network("::/0"),
}
_Label = tuple[str, str] | None
"""Label that a selector requires, None if it requires no single value."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Ports that a foreign policy opens to a peer, and Troth does not."""

    policy: Ref
    direction: Direction
    pods: Party
    """Pods of an identity that the policy selects."""
    term: Term
    """What the policy's rule says of its peers."""
    rule: PolicyRule
    peer: Peer
    """One of the peers."""
    ports: Ports


@dataclass(slots=True)
class Network:
    """Parties and policies, indexed by namespace and label.

    A packet passes if the policies of both ends allow it. `own` are the policies of Troth.
    """

    parties: Mapping[Party, int]
    """Parties and their numbers of pods."""
    policies: Iterable[Policy]
    own: AbstractSet[Ref]
    namespaces: Mapping[str, Mapping[str, str]]
    """Labels of every namespace."""
    _parties_in: dict[str, dict[_Label, list[Party]]] = field(init=False)
    _policies_in: dict[str, dict[_Label, list[Policy]]] = field(init=False)
    _labels: dict[str, frozenset[tuple[str, str]]] = field(init=False)
    _selecting: dict[Party, tuple[Policy, ...]] = field(default_factory=dict)
    _free: dict[tuple[Direction, str], list[Party]] = field(default_factory=dict)
    _aimed: dict[Direction, dict[tuple[str, _Label], list[tuple[Policy, Term]]]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        self._parties_in, self._policies_in = {}, {}
        for party in sorted(self.parties, key=_order):
            there = self._parties_in.setdefault(party.namespace, {})
            for each in (*sorted(party.items), None):
                there.setdefault(each, []).append(party)
        for policy in self.policies:
            found = self._policies_in.setdefault(policy.ref.namespace, {})
            found.setdefault(_label(policy.pods), []).append(policy)
        self._labels = {name: frozenset(each.items()) for name, each in self.namespaces.items()}

    def labels_of(self, namespace: str) -> frozenset[tuple[str, str]]:
        """Return the labels of a namespace."""
        return self._labels.get(namespace, frozenset())

    def in_namespace(self, namespace: str, pods: Selector | None) -> Iterator[Party]:
        """Yield the parties of a namespace that a selector matches, None for all."""
        label = _label(pods) if pods is not None else None
        for party in self._parties_in.get(namespace, {}).get(label, ()):
            if pods is None or pods.matches(party.items):
                yield party

    def selecting(self, party: Party) -> tuple[Policy, ...]:
        """Return the policies that select a party."""
        known = self._selecting.get(party)
        if known is None:
            there = self._policies_in.get(party.namespace, {})
            known = self._selecting[party] = tuple(
                policy
                for label in (*party.items, None)
                for policy in there.get(label, ())
                if policy.pods.matches(party.items)
            )
        return known

    def openings(self, policy: Policy, party: Party) -> Iterator[Opening]:
        """Yield what a foreign policy opens for pods that it selects, and Troth closes.

        That is at most one for each peer of a rule, with one of the ends that packets now pass to.
        """
        for direction, rules in policy.rules.items():
            base = self._base(party, direction)
            for rule in rules if base else ():
                for term in rule.peers:
                    for peer in self._peers(party, direction, term, base):
                        ports = self._added(direction, party, peer, rule, base)
                        if ports:
                            yield Opening(policy.ref, direction, party, term, rule, peer, ports)
                            break

    def every_peer(self, opening: Opening) -> Iterator[tuple[Party, Ports]]:
        """Yield all parties that an opening is about, and the ports that it opens to each."""
        base = self._base(opening.pods, opening.direction)
        for namespace in sorted(self._parties_in):
            if not opening.term.matches_namespace(namespace, self.labels_of):
                continue
            for peer in self.in_namespace(namespace, opening.term.pods):
                ports = self._added(opening.direction, opening.pods, peer, opening.rule, base)
                if ports and opening.term.matches(peer, self.labels_of):
                    yield peer, ports

    def _base(self, party: Party, direction: Direction) -> tuple[Policy, ...]:
        """Return Troth's policies that isolate a party, none if Troth does not."""
        return tuple(
            each
            for each in self.selecting(party)
            if each.ref in self.own and direction in each.rules
        )

    def _added(
        self,
        direction: Direction,
        party: Party,
        peer: Peer,
        rule: PolicyRule,
        base: tuple[Policy, ...],
    ) -> Ports:
        """Return the ports that a rule opens between two ends, and `base` does not."""
        if peer.version != party.version or (peer == party and self.parties[party] == 1):
            return NONE  # a single pod has no other of its kind
        destination = party if direction is Direction.INGRESS else peer
        added = rule.ports_at(destination)
        if not added:
            return NONE
        added = minus(added, all_allowed(base, direction, party, peer, self.labels_of))
        if added and isinstance(peer, Party):
            added = common(added, self._at_other_end(direction.opposite, peer, party))
        return added

    def _at_other_end(self, direction: Direction, peer: Party, party: Party) -> Ports:
        policies = [each for each in self.selecting(peer) if direction in each.rules]
        if not policies:
            return ALL
        return all_allowed(policies, direction, peer, party, self.labels_of)

    # Peers, in an order in which one that shows an opening is likely to be early

    def _peers(
        self, party: Party, direction: Direction, term: Term, base: tuple[Policy, ...]
    ) -> Iterator[Peer]:
        yield from self._addresses(party, direction, term, base)
        if term.block is not None and (term.block.prefixlen or term.excepted):
            return
        opposite = direction.opposite
        for peer in self._free_parties(opposite, term):
            if term.matches(peer, self.labels_of):
                yield peer
        for policy, _ in self._aiming(opposite, party):
            for peer in self.in_namespace(policy.ref.namespace, policy.pods):
                if term.matches(peer, self.labels_of):
                    yield peer

    def _addresses(
        self, party: Party, direction: Direction, term: Term, base: tuple[Policy, ...]
    ) -> Iterator[IPAddress]:
        """Yield addresses of a term, so that one is in each part that other blocks divide it into.

        Such a part begins where a block begins, or after a block has ended.
        """
        block = term.block or (_EVERY_ADDRESS[party.version] if term.everybody else None)
        if block is None or block.version != party.version:
            return
        others = [*term.excepted, *(each for policy in base for each in policy.blocks(direction))]
        first, last = int(block.network_address), int(block.broadcast_address)
        starts = {first}
        for each in others:
            if each.version == block.version:
                starts |= {int(each.network_address), int(each.broadcast_address) + 1}
        address = IPv4Address if block.version == IPv4Address(0).version else IPv6Address
        for start in sorted(starts):
            if first <= start <= last:
                found = address(start)
                if term.matches(found, self.labels_of):
                    yield found

    def _free_parties(self, direction: Direction, term: Term) -> Iterable[Party]:
        """Return the parties that no policy isolates in a direction, where a term may match."""
        if not self._free:
            for each in Direction:
                for there in self._parties_in.values():
                    for party in there[None]:
                        if not any(each in policy.rules for policy in self.selecting(party)):
                            self._free.setdefault((each, party.namespace), []).append(party)
        only = term.only_namespace
        names = self._parties_in if only is None else (only,)
        return (
            party
            for name in names
            if term.matches_namespace(name, self.labels_of)
            for party in self._free.get((direction, name), ())
        )

    def _aiming(self, direction: Direction, party: Party) -> Iterator[tuple[Policy, Term]]:
        """Yield the policies with a rule of a direction whose peers include a party."""
        index = self._aimed.setdefault(direction, {})
        if not index:
            for policy in self.policies:
                for rule in policy.rules.get(direction, ()):
                    for term in rule.peers:
                        index.setdefault(_aim(term), []).append((policy, term))
        for namespace in (party.namespace, ""):
            for label in (*sorted(party.items), None):
                for policy, term in index.get((namespace, label), ()):
                    if term.matches(party, self.labels_of):
                        yield policy, term


def _aim(term: Term) -> tuple[str, _Label]:
    """Return the namespace and a label of the pods that a term is about; empty for any."""
    return term.only_namespace or "", _label(term.pods) if term.pods is not None else None


def _label(selector: Selector) -> _Label:
    return min(selector.labels, default=None)


def _order(party: Party) -> tuple[object, ...]:
    return party.workload, sorted(party.items), party.named, party.version
