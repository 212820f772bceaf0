"""Changes whose mixes allow no more than the old or the new declaration does.

A round of changes reaches the API server object by object, and policy by policy the packet
filter. On the way a person's own order may declare what neither the whole old nor the whole new
set does: one identity goes from Observe to Enforce while another goes the other way, and between
the two neither is closed. That is what was declared at that moment, and no fault of Troth's. So
that the strict rule can be held (nothing is open that neither allows), such pairs of changes are
not made in one round.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from tests.oracle import Declared
from tests.truth.probing import Truth
from tests.truth.topology import Place, Topology


def step(before: Truth) -> Topology:
    """Return the next topology: at random, without changes that may only be made one by one."""
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
    """Yield callees whose change opens, mixed with a caller's, what neither whole allows."""
    places = before.pods.addresses
    for source, destination in product(places, changed):
        if source == destination or source not in changed:
            continue
        for number in before.ports(destination).values():
            neither = not any(truth.opens(source, destination, number) for truth in (before, after))
            if neither and _mixed(before, after, source, destination, number):
                yield destination
                break


def _mixed(before: Truth, after: Truth, source: Place, destination: Place, number: int) -> bool:
    """Whether old and new, of either and on either side, let a connection through together."""
    mixes = [
        _with(before.declared, {source: first, destination: second})
        for first, second in product(
            *(
                [truth.topology.identities[place] for truth in (before, after)]
                for place in (source, destination)
            )
        )
    ]
    ends = before.pods.pod(source), before.pods.pod(destination), ("TCP", number)
    return any(mix.lets_out(*ends) for mix in mixes) and any(mix.lets_in(*ends) for mix in mixes)


def _with(declared: Declared, changes: dict[Place, dict[str, object]]) -> Declared:
    return replace(declared, identities=declared.identities | changes)
