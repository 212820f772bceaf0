"""Oracle of open traffic during conflicts, from the history of declarations.

`tests.oracle` judges one moment; this oracle is given every moment in order. It shares no code with
`troth` and reads no policy: it keeps its own result of the previous moment. It leaves the resolver
to `tests.oracle`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.networkpolicy import Pod, selects, within
from tests.oracle import LABELS, Declared, Opening, Place

Labels = frozenset[int]
"""Indices into `LABELS`: the pods that a selector matches."""
Way = tuple[str, Place, Opening]
"""Direction, the peer's identity, and the callee's port."""
Entry = tuple[str, str, Opening]
"""Direction, a description of peers that needs no consent, and a port."""


def labels_of(selector: dict[str, Any]) -> Labels:
    return frozenset(number for number, each in enumerate(LABELS) if selects(selector, each))


@dataclass
class Held:
    """State of one identity's pods, kept between moments."""

    pods: Labels
    closed: Labels
    """Pods that are denied everything, although others of the identity are not."""
    left_out: Labels
    """Pods that unverified peers and collectors never match."""
    edges: dict[Way, Labels] = field(default_factory=dict)
    entries: frozenset[Entry] = frozenset()


class History:
    """Judges open traffic, given every moment in order."""

    def __init__(self) -> None:
        self.held: dict[Place, Held] = {}
        self.declared: Declared

    def happens(self, declared: Declared) -> None:
        """Add the next moment with its declarations."""
        self.declared = declared
        self.held = {
            me: self._holds(me, self.held.get(me))
            for me in declared.identities
            if declared.enforces(me)
        }

    def _holds(self, me: Place, before: Held | None) -> Held:
        spec = self.declared.identities[me]
        pods = labels_of(spec["workload"]["podSelector"])
        any_claim = frozenset().union(*(self._entries(me, each) for each in self._networks(me)))
        if not self.declared.unsettled(me):
            edges = {way: self._labels(way[1]) for way in self._ways(me, suspended=False)}
            edges |= self._staying(me, before)
            return Held(pods, frozenset(), pods, edges, any_claim)
        if before is None:
            return Held(pods, frozenset(), pods, {}, self._first(me))
        both = before.pods & pods
        if not both:
            return Held(pods, frozenset(), pods)
        entries = before.entries & any_claim
        return Held(both, pods - both, before.left_out, self._staying(me, before), entries)

    def _labels(self, place: Place) -> Labels:
        return labels_of(self.declared.identities[place]["workload"]["podSelector"])

    def _ways(self, me: Place, *, suspended: bool) -> Iterator[Way]:
        """Yield the live edges, or those that only a conflict suspends."""
        settled = replace(self.declared, suspended_too=False)
        torn = replace(self.declared, suspended_too=True)
        for other in self.declared.identities:
            for direction, caller, callee in (("Ingress", other, me), ("Egress", me, other)):
                for name, opening in self.declared.ports(callee).items():
                    live = settled.live(caller, callee, name)
                    if (live and not suspended) or (
                        suspended and not live and torn.live(caller, callee, name)
                    ):
                        yield direction, other, opening

    def _staying(self, me: Place, before: Held | None) -> dict[Way, Labels]:
        """Return suspended edges that were live, to pods that their peer still selects."""
        held = before.edges if before is not None else {}
        staying = {
            way: held[way] & self._labels(way[1])
            for way in self._ways(me, suspended=True)
            if way in held
        }
        return {way: labels for way, labels in staying.items() if labels}

    # Traffic without consent

    def _networks(self, me: Place) -> list[dict[str, Any]]:
        claims = self.declared.claims(me[0])
        return [self.declared.domains[name].get("network") or {} for name in claims]

    def _entries(self, me: Place, network: dict[str, Any]) -> frozenset[Entry]:
        spec, ports = self.declared.identities[me], self.declared.ports(me)
        found: set[Entry] = set()
        for entry in spec["accepts"]:
            peer = {k: v for k, v in entry.get("unverified", {}).items() if k != "reason"}
            found |= {
                ("Ingress", json.dumps(each), ports[name])
                for name in entry["ports"]
                for each in _blocks(peer)
            }
        for entry in spec["calls"]:
            if "external" in entry:
                found |= {
                    ("Egress", json.dumps(each), ("TCP", port))
                    for port in entry["external"]["ports"]
                    for each in _blocks({"cidrs": entry["external"]["cidrs"]})
                }
        return frozenset(found) | self._exceptions(me, network)

    def _exceptions(self, me: Place, network: dict[str, Any]) -> frozenset[Entry]:
        spec, ports = self.declared.identities[me], self.declared.ports(me)
        asked = spec.get("exceptions") or {}
        found: set[Entry] = set()
        for name in asked.get("probes", []) if "probes" in network else []:
            for each in _blocks({"cidrs": network["probes"]["cidrs"]}):
                found.add(("Ingress", json.dumps(each), ports[name]))
        for name in asked.get("metrics", []) if "metrics" in network else []:
            collector = network["metrics"]
            peer = {"in": collector["namespace"], "podSelector": collector["podSelector"]}
            found.add(("Ingress", json.dumps(peer), ports[name]))
        return frozenset(found)

    def _first(self, me: Place) -> frozenset[Entry]:
        """Return the entries of an identity that begins in a conflict."""
        alone = not any(
            self._labels(me) & self._labels(other)
            for other in self.declared.identities
            if other != me and other[0] == me[0]
        )
        each = [self._exceptions(me, network) for network in self._networks(me)]
        return frozenset.intersection(*each) if alone else frozenset()

    # Judgement

    def must(self, direction: str, pod: Pod, peer: Pod, opening: Opening) -> bool:
        """Return whether the traffic must be open."""
        return self._open(direction, pod, peer, opening, lenient=False)

    def may(self, direction: str, pod: Pod, peer: Pod, opening: Opening) -> bool:
        """Return whether the traffic may be open: declared entries without consent may, if they
        were.
        """
        return self._open(direction, pod, peer, opening, lenient=True)

    def _open(
        self, direction: str, pod: Pod, peer: Pod, opening: Opening, *, lenient: bool
    ) -> bool:
        mine = number_of(pod)
        here = {me: held for me, held in self.held.items() if me[0] == pod.namespace}
        closing = [held for held in here.values() if mine in held.pods | held.closed]
        return not closing or any(
            self._held_open(me, held, direction, peer, opening, lenient=lenient)
            for me, held in here.items()
            if mine in held.pods
        )

    def _held_open(
        self, me: Place, held: Held, direction: str, peer: Pod, opening: Opening, *, lenient: bool
    ) -> bool:
        if any(
            way == (direction, other, opening)
            and peer.namespace == other[0]
            and number_of(peer) in labels
            for way, labels in held.edges.items()
            for other in [way[1]]
        ):
            return True
        entries = set(held.entries)
        if lenient:
            for network in self._networks(me):
                entries |= self._entries(me, network)
        return any(
            (entry[0], entry[2]) == (direction, opening) and self._meant(me, held, entry[1], peer)
            for entry in entries
        )

    def _meant(self, me: Place, held: Held, described: str, peer: Pod) -> bool:
        about = json.loads(described)
        if "cidr" in about:
            return within(peer.address, about["cidr"])
        if not peer.namespace:
            return False
        if "in" in about:
            there = peer.namespace == about["in"]
        elif "namespaceSelector" in about:
            spaces = self.declared.namespaces[peer.namespace]
            there = selects(about["namespaceSelector"], spaces)
        else:
            there = peer.namespace == me[0]
        own = peer.namespace == me[0] and number_of(peer) in held.left_out
        return there and not own and selects(about.get("podSelector") or {}, peer.labels)


def _blocks(peer: dict[str, Any]) -> list[dict[str, Any]]:
    if not peer:
        return []
    return [{"cidr": each} for each in peer["cidrs"]] if "cidrs" in peer else [peer]


def number_of(pod: Pod) -> int:
    return LABELS.index(dict(pod.labels)) if dict(pod.labels) in LABELS else -1
