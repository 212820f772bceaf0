"""The live peers of a NetworkPolicy, remembered in an annotation of that policy.

While an edge or a grant is suspended, Troth keeps open what was open for it. The rules alone do
not tell: the rule of an unverified peer, of a metrics collector, or one added by hand can look like
the rule of an edge that was never live. So each policy carries a list of the peers and ports that
live edges and grants opened. It is written with the rules, in one write.

A list that is absent, too long or malformed remembers nothing, and what is suspended closes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from troth.pki import base64url
from troth.planning.network.external_peers import NAMESPACE_NAME, pods_in, selector
from troth.planning.network.rules import Pair, Rule, listed, pair_of
from troth.resources.identity.spec import Protocol
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.selectors import conjunction
from troth.world.facts.objects import Content, Manifest, canonical

LIMIT = 128 * 1024
"""Most characters of the list; an object's annotations may have 256 KiB together."""


class Side(StrEnum):
    """Why a peer is remembered, by the member of the list that has it."""

    FROM = "from"
    """An inbound edge, or a client of a broker."""
    TO = "to"
    """An outbound edge."""
    BROKERS = "brokers"
    """A broker at which the identity has a grant."""

    @property
    def direction(self) -> str:
        """The part of a NetworkPolicy's spec with the rules."""
        return "ingress" if self is Side.FROM else "egress"

    @property
    def peers(self) -> str:
        """The member of a rule that names the peers."""
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
    """The list as the annotation has it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    from_: _Peers = Field(default_factory=dict, alias="from")
    to: _Peers = Field(default_factory=dict)
    brokers: _Peers = Field(default_factory=dict)
    left_out: LabelSelector | None = Field(default=None, alias="leftOut")


@dataclass(frozen=True, slots=True)
class Memory:
    """What an annotation remembers.

    `left_out` selects the pods that rules leave out as the workload's own; None where the policy
    is for just these pods.
    """

    peers: Remembered = field(default_factory=dict)
    left_out: LabelSelector | None = None


def read(text: str) -> Memory:
    """Return what an annotation remembers; nothing if it is too long or malformed."""
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
    """Return what stands for a rule's peer in the list: 128 bits of a SHA-256, in base64url."""
    return base64url.encode(hashlib.sha256(canonical(peer)).digest()[:16])


@dataclass(frozen=True, slots=True)
class PeerRule:
    """A rule for the pods of one peer of one side, with its ports by name."""

    side: Side
    ref: Ref
    peer: Manifest
    ports: Ports

    @property
    def rule(self) -> Rule:
        """The rule as a NetworkPolicy has it."""
        return {self.side.peers: [self.peer], "ports": listed(self.ports.values())}


def written(rules: Iterable[PeerRule], left_out: LabelSelector | None = None) -> str:
    """Return the list of these rules; the last ones are left out of a list that is too long."""
    shown = list(rules)
    rest = {"leftOut": selector(left_out)} if left_out is not None else {}
    while len(text := canonical(_sides(shown) | rest).decode()) > LIMIT:
        shown = shown[: len(shown) * LIMIT // len(text)]
    return text


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
    """A NetworkPolicy as it stands: what it opens to each single peer, and what it remembers."""

    memory: Memory = field(default_factory=Memory)
    opened: Mapping[tuple[str, str], tuple[Manifest, frozenset[Pair]]] = field(default_factory=dict)
    """By direction and fingerprint: a peer, and the ports that are open to it."""

    @classmethod
    def of(cls, policy: Content | None) -> "CurrentPolicy":
        """Return a policy as it stands; nothing where there is none."""
        if policy is None:
            return cls()
        spec = policy.content
        opened: dict[tuple[str, str], tuple[Manifest, frozenset[Pair]]] = {}
        for side in (Side.FROM, Side.TO):
            for rule in spec.get(side.direction) or []:
                peers = rule.get(side.peers) or []
                if len(peers) != 1:  # added by hand: Troth writes one rule a peer
                    continue
                place = side.direction, fingerprint(peers[0])
                pairs = frozenset(filter(None, map(pair_of, rule.get("ports") or [])))
                before = opened[place][1] if place in opened else frozenset()
                opened[place] = peers[0], before | pairs
        return cls(read(policy.live_peers), opened)

    def left_out(self, policy: Content) -> LabelSelector | None:
        """Return which pods the rules of the policy leave out as the workload's own."""
        if self.memory.left_out is not None:
            return self.memory.left_out
        try:
            return LabelSelector.model_validate(policy.content.get("podSelector") or {})
        except ValidationError:  # somebody edited it
            return None

    def kept(
        self,
        side: Side,
        ref: Ref,
        pods: LabelSelector | None,
        declared: Mapping[str, Pair | None] | None,
    ) -> Iterator[PeerRule]:
        """Yield what stays open for a suspended peer: what was live, is open, and is declared.

        `pods` are None for a peer that cannot be read. `declared` are the ports by name, a number
        None where the callee cannot be read; None if no port is known.
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
    """Return the peer of a rule that stands, narrowed to the pods that are declared now.

    None if no pod can be both, or the rule is not for pods of that namespace alone.
    """
    labels = (peer.get("namespaceSelector") or {}).get("matchLabels")
    if labels != {NAMESPACE_NAME: namespace} or not peer.get("podSelector"):
        return None
    if pods is None or peer == pods_in(namespace, pods):
        return peer
    both = narrowed_pods(peer["podSelector"], pods)
    return pods_in(namespace, both) if both is not None else None


def narrowed_pods(standing: Mapping[str, Any], declared: LabelSelector) -> LabelSelector | None:
    """Return the selector of pods that match both, the one that stands and the one declared now."""
    if not standing or standing == selector(declared):  # an empty one selects every pod
        return declared
    try:
        before = LabelSelector.model_validate(standing)
    except ValidationError:
        return None
    return conjunction(declared, before)
