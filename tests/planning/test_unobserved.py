"""A status that only has the default of `observedGeneration` counts as none."""

import copy
from dataclasses import replace

import pytest

from tests.builders import NOW, OWN, Manifest, at, namespace
from tests.every_kind import sample
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.resources.conditions import UNOBSERVED
from troth.resources.kinds import KINDS, Kind
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE
from troth.world.keys import Key
from troth.world.world import World


def planned(manifest: Manifest) -> Plan:
    """Return the plan of a resource, in a cluster with the others."""
    world = World(OWN)
    world.observe(namespace("shop", domain="production"), 0.0)
    kind = manifest["kind"]
    for each in (sample(each.name, 1) for each in KINDS if each.name != kind):
        world.observe(each, 0.0)
    world.observe(manifest, 0.0)
    return plan(Key(kind, Ref.of(manifest)), world, at(NOW))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("readable", [True, False], ids=["readable", "unreadable"])
def test_plan_is_that_of_a_resource_without_a_status(kind: Kind, *, readable: bool) -> None:
    bare = sample(kind.name, 2)
    if not readable:
        bare[UNREADABLE] = "spec.new: unknown field"
    defaulted = copy.deepcopy(bare) | {"status": {"observedGeneration": UNOBSERVED}}
    wanted, made = planned(bare), planned(defaulted)
    assert made.status
    assert made.status == wanted.status
    assert replace(made, previous_status={}) == replace(wanted, previous_status={})
