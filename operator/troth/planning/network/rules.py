"""Rules of NetworkPolicies: their form, and the part of a rule that stays open.

Rules are compared by peer and port, never as a whole, so removing a port closes that port.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from troth.resources.identity.spec import Port, Protocol
from troth.resources.messaging.message_broker import BrokerWorkload
from troth.world.facts.objects import Manifest

Rule = dict[str, Any]
Pair = tuple[Protocol, int]
"""Transport protocol and port number."""


def listed(pairs: Iterable[Pair]) -> list[Manifest]:
    """Return ports in the form of a rule's `ports`, sorted, each once."""
    return [
        {"protocol": protocol.value, "port": number}
        for protocol, number in sorted(set(pairs), key=lambda pair: (pair[1], pair[0].value))
    ]


def ports_of(workload: BrokerWorkload) -> dict[str, Pair]:
    """Return the ports of a broker's workload by name."""
    return {port.name: (port.protocol, port.port) for port in workload.ports}


def numbers(declared: Iterable[Port]) -> list[Manifest]:
    """Return declared ports in the form of a rule's `ports`, by number."""
    return listed((port.protocol, port.port) for port in declared)


def open_part(wanted: Rule, rules: Iterable[Rule]) -> Rule | None:
    """Return a rule with only the ports that `rules` open to its peer, None if they open none."""
    side = "from" if "from" in wanted else "to"
    there = [
        port
        for rule in rules
        if rule.get(side) == wanted[side]
        for port in rule.get("ports") or []  # without ports: edited by hand, opens all
    ]
    kept = [port for port in wanted["ports"] if port in there]
    return {**wanted, "ports": kept} if kept else None


def pair_of(port: Manifest) -> Pair | None:
    """Return a port of a rule's `ports`, None if Troth writes no such port, such as a range."""
    protocol, number = port.get("protocol", "TCP"), port.get("port")
    known = protocol in (Protocol.TCP, Protocol.UDP) and "endPort" not in port
    return (Protocol(protocol), number) if known and isinstance(number, int) else None


def distinct(rules: Iterable[Rule]) -> Iterator[Rule]:
    """Yield the rules without duplicates, in order."""
    given: list[Rule] = []
    for rule in rules:
        if rule not in given:
            given.append(rule)
            yield rule


def spec_of(pods: Manifest, **sides: list[Rule]) -> Manifest:
    """Return the spec of a policy with these sides, `ingress` and `egress`.

    It has no empty lists, because the API server stores none.
    """
    types = [side.capitalize() for side in sides]
    return {"podSelector": pods, "policyTypes": types} | {
        side: rules for side, rules in sides.items() if rules
    }
