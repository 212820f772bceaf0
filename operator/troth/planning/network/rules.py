"""Rules of NetworkPolicies: how they are written, and what of a rule stays open.

Rules are compared by peer and port, never as a whole: a port that is removed closes that port.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from troth.resources.identity.spec import Port, Protocol
from troth.resources.messaging.message_broker import BrokerWorkload
from troth.world.facts.objects import Manifest

Rule = dict[str, Any]
Pair = tuple[Protocol, int]
"""A port as packets have it."""


def listed(pairs: Iterable[Pair]) -> list[Manifest]:
    """Return ports as a rule lists them, each once."""
    return [
        {"protocol": protocol.value, "port": number}
        for protocol, number in sorted(set(pairs), key=lambda pair: (pair[1], pair[0].value))
    ]


def ports_of(workload: BrokerWorkload) -> dict[str, Pair]:
    """Return the ports of pods by name."""
    return {port.name: (port.protocol, port.port) for port in workload.ports}


def numbers(declared: Iterable[Port]) -> list[Manifest]:
    """Return declared ports as a rule lists them, by their numbers."""
    return listed((port.protocol, port.port) for port in declared)


def open_part(wanted: Rule, rules: Iterable[Rule]) -> Rule | None:
    """Return what of a rule is open by some `rules`: its peer, on fewer ports; None if nothing."""
    side = "from" if "from" in wanted else "to"
    there = [
        port
        for rule in rules
        if rule.get(side) == wanted[side]
        for port in rule.get("ports") or []  # without ports: a hand's work, which opened all
    ]
    kept = [port for port in wanted["ports"] if port in there]
    return {**wanted, "ports": kept} if kept else None


def pair_of(port: Manifest) -> Pair | None:
    """Return the port that a rule lists; None for what Troth does not write, such as a range."""
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    known = protocol in (Protocol.TCP, Protocol.UDP) and "endPort" not in port
    return (Protocol(protocol), number) if known and isinstance(number, int) else None


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
