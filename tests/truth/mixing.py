"""Rounds of changes whose mixtures allow no more than the old or the new declarations.

A round of changes reaches the API server object by object, and the packet filter policy by policy.
On the way, the order of a user's own changes may declare what neither the whole old nor the whole
new set does. For example, one identity goes from Observe to Enforce while another goes the other
way, and in between neither is closed. That was declared at that moment, and is no fault of Troth.
The tests assert the strict rule that nothing is open that neither set allows, so no round contains
such pairs of changes.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from tests.oracle import Declared
from tests.truth.probing import Truth
from tests.truth.topology import Place, Topology


def step(before: Truth) -> Topology:
    """Return a random next topology without changes that may only be made one by one."""
    topology = before.topology.mutated()
    after = Truth(before.sandbox, topology, before.pods)
    while True:
        changed = _changed(before.topology, topology)
        mixed = next(_mixes(before, after, changed), None)
        if mixed is None:
            assert changed, "nothing is changed at all"
            return topology
        topology.identities[mixed] = copy.deepcopy(before.topology.identities[mixed])
        after = Truth(before.sandbox, topology, before.pods)


def _changed(before: Topology, after: Topology) -> set[Place]:
    return {place for place, spec in after.identities.items() if before.identities[place] != spec}


def _mixes(before: Truth, after: Truth, changed: set[Place]) -> Iterator[Place]:
    """Yield callees whose change, mixed with a caller's, opens what neither whole set allows."""
    places = before.pods.addresses
    for source, destination in product(places, changed):
        if source == destination or source not in changed:
            continue
        mixes = _mixed(before, after, source, destination)
        for number in before.ports(destination).values():
            neither = not any(truth.opens(source, destination, number) for truth in (before, after))
            ends = before.pods.pod(source), before.pods.pod(destination), ("TCP", number)
            if (
                neither
                and any(mix.lets_out(*ends) for mix in mixes)
                and any(mix.lets_in(*ends) for mix in mixes)
            ):
                yield destination
                break


def _mixed(before: Truth, after: Truth, source: Place, destination: Place) -> list[Declared]:
    """Return the mixtures of the old and the new side of two identities."""
    return [
        _with(before.declared, {source: first, destination: second})
        for first, second in product(
            *(
                [truth.topology.identities[place] for truth in (before, after)]
                for place in (source, destination)
            )
        )
    ]


def _with(declared: Declared, changes: dict[Place, dict[str, object]]) -> Declared:
    return replace(declared, identities=declared.identities | changes)
