"""Rules of NetworkPolicies: how they are written, and which of those that stand may stay.

What stays while something is unsettled is told from the policy as it stands, and nothing is added.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from troth.planning.strangers import NAMESPACE_NAME
from troth.resources.service_identity import Port, Protocol
from troth.world.facts import Manifest

Rule = dict[str, Any]
Peers = list[Manifest]


def listed(pairs: Iterable[tuple[Protocol, int]]) -> list[Manifest]:
    """Return ports as a rule lists them, each once."""
    return [
        {"protocol": protocol.value, "port": number}
        for protocol, number in sorted(set(pairs), key=lambda pair: (pair[1], pair[0].value))
    ]


def numbers(declared: Iterable[Port]) -> list[Manifest]:
    """Return declared ports as a rule lists them, by their numbers."""
    return listed((port.protocol, port.port) for port in declared)


def standing_rule(side: str, wanted: Rule, existing: Iterable[Rule]) -> Rule | None:
    """Return what stands of a rule, `side` (`from` or `to`) naming its peers; None if nothing."""
    there = [
        port
        for rule in existing
        if rule.get(side) == wanted[side]
        for port in rule.get("ports") or []  # without ports: a hand's work, which opened all
    ]
    kept = [port for port in wanted["ports"] if port in there]
    return {**wanted, "ports": kept} if kept else None


def unaccounted(
    side: str,
    namespace: str,
    existing: Iterable[Rule],
    others: Collection[Peers],
    elsewhere: Collection[Rule],
) -> Iterator[Rule]:
    """Yield the rules that may be for pods in a namespace of which no more is known.

    They are kept that are neither for the `others` there nor made for something else (`elsewhere`).
    """
    for rule in existing:
        peers = rule.get(side) or [{}]
        labels = (peers[0].get("namespaceSelector") or {}).get("matchLabels")
        there = len(peers) == 1 and labels == {NAMESPACE_NAME: namespace}
        confined = peers[0].get("podSelector") and rule.get("ports")
        if there and confined and peers not in others and rule not in elsewhere:
            yield rule


def distinct(rules: Iterable[Rule]) -> Iterator[Rule]:
    """Yield rules, each once."""
    given: list[Rule] = []
    for rule in rules:
        if rule not in given:
            given.append(rule)
            yield rule


def spec_of(pods: Manifest, **sides: list[Rule]) -> Manifest:
    """Return the spec of a policy of these sides, `ingress` and `egress`, as the API server stores
    it: without empty lists.
    """
    types = [side.capitalize() for side in sides]
    return {"podSelector": pods, "policyTypes": types} | {
        side: rules for side, rules in sides.items() if rules
    }


def keep_open(specs: Iterable[Manifest], existing: Mapping[str, Any]) -> Manifest:
    """Return `existing` without the rules that none of `specs` has any more; nothing is added.

    For a workload whose own standing is unsettled: what was open stays open unless it was taken
    back, and nothing opens. There is one spec for each trust domain that claims the workload.
    """
    allowed = list(specs)
    ingress, egress = (
        [
            rule
            for rule in existing.get(side) or []
            if any(rule in spec.get(side, []) for spec in allowed)
        ]
        for side in ("ingress", "egress")
    )
    return spec_of(existing["podSelector"], ingress=ingress, egress=egress)
