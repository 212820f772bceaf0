"""The live peers of a NetworkPolicy, remembered in an annotation of that policy.

While an edge or a grant is suspended, Troth keeps its open ports open. The rules alone do not show
which ports these are: the rule of an unverified peer, of a metrics collector, or one added by hand
can look like the rule of an edge that was never live. So each policy carries a list of the peers
and ports that live edges and grants opened. Troth writes the list and the rules in one write.

If the list is absent, too long or malformed, it remembers nothing, and suspended edges close.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from troth.pki.encodings import base64url
from troth.planning.network.external_peers import NAMESPACE_NAME, pods_in, selector
from troth.planning.network.rules import Pair, Rule, listed, pair_of
from troth.resources.identity.spec import Protocol
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.selectors import conjunction
from troth.world.facts.objects import Content, Manifest, canonical

LIMIT = 240_000
"""Maximum characters of the list. All annotations of an object may total 256 KiB."""


class Side(StrEnum):
    """Why a peer is remembered. The value is the list's member that holds the peer."""

    FROM = "from"
    """An inbound edge, or a client of a broker."""
    TO = "to"
    """An outbound edge."""
    BROKERS = "brokers"
    """A broker at which the identity has a grant."""

    @property
    def direction(self) -> str:
        """Field of a NetworkPolicy's spec that holds the rules."""
        return "ingress" if self is Side.FROM else "egress"

    @property
    def peers(self) -> str:
        """Field of a rule that names the peers."""
        return "from" if self is Side.FROM else "to"


Ports = Mapping[str, Pair]
"""Ports by name."""
Remembered = Mapping[Side, Mapping[Ref, Mapping[str, Ports]]]
"""For each side and peer: the fingerprint of the rule's peer, and the ports."""

_Peers = dict[
    Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}$")],
    dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")],
        dict[
            Annotated[str, StringConstraints(min_length=1, max_length=63)],
            Annotated[str, StringConstraints(pattern=r"^(TCP|UDP)/[0-9]{1,5}$")],
        ],
    ],
]


class _Text(BaseModel):
    """List in the form stored in the annotation."""

    model_config = ConfigDict(extra="forbid", strict=True)

    from_: _Peers = Field(default_factory=dict, alias="from")
    to: _Peers = Field(default_factory=dict)
    brokers: _Peers = Field(default_factory=dict)
    left_out: LabelSelector | None = Field(default=None, alias="leftOut")


@dataclass(frozen=True, slots=True)
class Memory:
    """Content of the annotation.

    `left_out` selects the workload's own pods, which the rules leave out. It is None if the policy
    selects exactly these pods.
    """

    peers: Remembered = field(default_factory=dict)
    left_out: LabelSelector | None = None


def read(text: str) -> Memory:
    """Return the content of the annotation, an empty one if the text is too long or malformed."""
    if not text or len(text) > LIMIT:
        return Memory()
    try:
        parsed = _Text.model_validate_json(text)
    except ValidationError:
        return Memory()
    sides = {Side.FROM: parsed.from_, Side.TO: parsed.to, Side.BROKERS: parsed.brokers}
    peers = {
        side: {
            Ref(*peer.split("/")): {
                mark: {name: _pair(port) for name, port in ports.items()}
                for mark, ports in rules.items()
            }
            for peer, rules in peers.items()
        }
        for side, peers in sides.items()
    }
    return Memory(peers, parsed.left_out)


def _pair(text: str) -> Pair:
    protocol, number = text.split("/")
    return Protocol(protocol), int(number)


def fingerprint(peer: Manifest) -> str:
    """Return the key of a rule's peer in the list: 128 bits of its SHA-256, in base64url."""
    return base64url.encode(hashlib.sha256(canonical(peer)).digest()[:16])


@dataclass(frozen=True, slots=True)
class PeerRule:
    """A rule for the pods of one peer of one side, with its ports by name."""

    side: Side
    ref: Ref
    peer: Manifest
    ports: Ports

    @property
    def entry_size(self) -> int:
        """Characters of the peer in the list, at most."""
        return len(canonical({str(self.ref): {fingerprint(self.peer): _texts(self.ports)}}))

    @property
    def rule(self) -> Rule:
        """The rule as a NetworkPolicy has it."""
        return {self.side.peers: [self.peer], "ports": listed(self.ports.values())}


@dataclass(frozen=True, slots=True)
class PeerList:
    """The list as text, and whether it has every peer."""

    text: str = "{}"
    is_complete: bool = True


NO_PEERS = PeerList()


def written(rules: Iterable[PeerRule], left_out: LabelSelector | None = None) -> PeerList:
    """Return the list for these rules, without the last rules if it would be too long."""
    every = shown = list(rules)
    rest = {"leftOut": selector(left_out)} if left_out is not None else {}
    while len(text := canonical(_sides(shown) | rest).decode()) > LIMIT and shown:
        shown = shown[: len(shown) * LIMIT // len(text)]
    return PeerList(text, is_complete=len(shown) == len(every))


def _sides(rules: Iterable[PeerRule]) -> Manifest:
    sides: Manifest = {}
    for each in rules:
        peers = sides.setdefault(each.side.value, {})
        peers.setdefault(str(each.ref), {})[fingerprint(each.peer)] = _texts(each.ports)
    return sides


def _texts(ports: Ports) -> dict[str, str]:
    return {name: f"{protocol.value}/{number}" for name, (protocol, number) in ports.items()}


@dataclass(frozen=True, slots=True)
class CurrentPolicy:
    """Current NetworkPolicy: the ports it opens to each single peer, and its annotation."""

    memory: Memory = field(default_factory=Memory)
    opened: Mapping[tuple[str, str], tuple[Manifest, frozenset[Pair]]] = field(default_factory=dict)
    """Peer and its open ports, by direction and fingerprint of the peer."""

    @classmethod
    def of(cls, policy: Content | None) -> "CurrentPolicy":
        """Return the current state of a policy, an empty one if there is no policy."""
        if policy is None:
            return cls()
        spec = policy.content
        opened: dict[tuple[str, str], tuple[Manifest, frozenset[Pair]]] = {}
        for side in (Side.FROM, Side.TO):
            for rule in spec.get(side.direction) or []:
                peers = rule.get(side.peers) or []
                if len(peers) != 1:  # added by hand: Troth writes one rule per peer
                    continue
                place = side.direction, fingerprint(peers[0])
                pairs = frozenset(filter(None, map(pair_of, rule.get("ports") or [])))
                before = opened[place][1] if place in opened else frozenset()
                opened[place] = peers[0], before | pairs
        return cls(read(policy.live_peers), opened)

    def left_out(self, policy: Content) -> LabelSelector | None:
        """Return the selector of the workload's own pods, which the policy's rules leave out.

        None if the policy's pod selector is invalid.
        """
        if self.memory.left_out is not None:
            return self.memory.left_out
        try:
            return LabelSelector.model_validate(policy.content.get("podSelector") or {})
        except ValidationError:  # edited by hand
            return None

    def kept(
        self,
        side: Side,
        ref: Ref,
        pods: LabelSelector | None,
        declared: Mapping[str, Pair | None] | None,
    ) -> Iterator[PeerRule]:
        """Yield the rules that stay open for a suspended peer: once live, open now, still declared.

        `pods` is None for a peer that cannot be read. `declared` has the ports by name, with None
        for a port whose callee cannot be read. It is None if no port is known.
        """
        for mark, ports in sorted(self.memory.peers.get(side, {}).get(ref, {}).items()):
            peer, opened = self.opened.get((side.direction, mark), ({}, frozenset()))
            staying = {
                name: pair for name, pair in _declared(ports, declared).items() if pair in opened
            }
            narrowed = _narrowed(peer, ref.namespace, pods)
            if staying and narrowed is not None:
                yield PeerRule(side, ref, narrowed, staying)


def _declared(live: Ports, declared: Mapping[str, Pair | None] | None) -> Ports:
    """Return those of a peer's live ports that are still declared."""
    if declared is None:
        return live
    numbers = set(live.values())
    current = {name: live.get(name) if pair is None else pair for name, pair in declared.items()}
    return {name: pair for name, pair in current.items() if pair is not None and pair in numbers}


def _narrowed(peer: Manifest, namespace: str, pods: LabelSelector | None) -> Manifest | None:
    """Return the peer of an existing rule, narrowed to the pods that are declared now.

    None if no pod can match both selectors, or the rule is not limited to pods of that namespace.
    """
    labels = (peer.get("namespaceSelector") or {}).get("matchLabels")
    if labels != {NAMESPACE_NAME: namespace} or not peer.get("podSelector"):
        return None
    if pods is None or peer == pods_in(namespace, pods):
        return peer
    both = narrowed_pods(peer["podSelector"], pods)
    return pods_in(namespace, both) if both is not None else None


def narrowed_pods(current: Mapping[str, Any], declared: LabelSelector) -> LabelSelector | None:
    """Return a selector of the pods that match the current and the declared selector.

    None if no pod can match both, or the current selector is invalid.
    """
    if not current or current == selector(declared):  # an empty one selects every pod
        return declared
    try:
        before = LabelSelector.model_validate(current)
    except ValidationError:
        return None
    return conjunction(declared, before)
