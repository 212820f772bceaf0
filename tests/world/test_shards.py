"""Shards: every replica finds the same one, they are even, and a change of their number moves few.

What one key's plan reads of another's outcome is in one shard, or every replica observes it.
"""

import inspect
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.planning.planner import PLANNERS
from troth.resources.kinds import KINDS
from troth.resources.references import Ref
from troth.world import outcomes
from troth.world.keys import ISSUER_VIEW, Key
from troth.world.outcomes import brokers, reviews, selections, writes
from troth.world.shards import BY_NAMESPACE, CENTRAL, shard_of, shard_of_namespace

NAMESPACES = [f"team-{number}" for number in range(4000)]
names = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(st.sampled_from(sorted(PLANNERS)), names, names, st.integers(1, 16))
def test_every_key_has_one_shard(kind: str, namespace: str, name: str, count: int) -> None:
    found = shard_of(Key(kind, Ref(namespace, name)), count)
    assert 0 <= found < count
    assert found == shard_of(Key(kind, Ref(namespace, "another")), count)


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_namespaces_are_spread_evenly(count: int) -> None:
    sizes = Counter(shard_of_namespace(each, count) for each in NAMESPACES)
    assert len(sizes) == count
    assert max(sizes.values()) < 1.15 * len(NAMESPACES) / count


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_another_shard_takes_its_part_of_each_and_moves_nothing_else(count: int) -> None:
    before = {each: shard_of_namespace(each, count) for each in NAMESPACES}
    after = {each: shard_of_namespace(each, count + 1) for each in NAMESPACES}
    moved = {each for each in NAMESPACES if before[each] != after[each]}
    assert {after[each] for each in moved} == {count}
    assert abs(len(moved) - len(NAMESPACES) / (count + 1)) < 0.15 * len(NAMESPACES) / (count + 1)


def test_shard_of_a_namespace_is_the_same_in_each_version() -> None:
    """Replicas of two versions with the same number of shards share the Lease."""
    found = {each: shard_of_namespace(each, 4) for each in ("north", "south", "east", "shop")}
    assert found == {"north": 2, "south": 0, "east": 1, "shop": 3}


# Outcomes


@dataclass(frozen=True)
class Knowledge:
    """Who brings an outcome into the world, and which plans read it.

    `own` outcomes are read by the plan that they come from. `carried` says how an outcome reaches
    the plans of other keys, and is empty if it does not need to. `untold` are the kinds whose plans
    read it of other keys, but not if those are in another shard, as the documentation says.
    tests/reconcile/test_shards.py compares this with what plans read.
    """

    writers: frozenset[str]
    readers: frozenset[str]
    own: bool = False
    carried: str = ""
    untold: frozenset[str] = frozenset()


EVERY = frozenset(PLANNERS)
AT_BROKERS = frozenset({"MessageBroker"})
IDENTITY, ENDPOINT = frozenset({"ServiceIdentity"}), frozenset({"WebhookEndpoint"})
OBSERVING = Knowledge(
    AT_BROKERS,
    AT_BROKERS | {"TopicPolicy", "CredentialRotation"} | IDENTITY,
    carried="each replica observes the brokers itself (BrokerObserver)",
)
CHANGING = Knowledge(AT_BROKERS, AT_BROKERS | {"TopicPolicy", "CredentialRotation"})
ROTATION = frozenset({"CredentialRotation"})
OF_A_WRITE = Knowledge(EVERY, EVERY, own=True, untold=ROTATION)
OUTCOMES: dict[type, Knowledge] = {
    brokers.WorkBegun: OBSERVING,
    brokers.WorkEnded: OBSERVING,
    brokers.BrokerObserved: OBSERVING,
    brokers.WorkFailed: OBSERVING,
    brokers.BrokerTakenOver: CHANGING,
    brokers.BrokerChanged: CHANGING,
    brokers.AdminCredentialChanged: CHANGING,
    reviews.ReviewsRead: Knowledge(EVERY, EVERY, carried="each replica lists reviews itself"),
    selections.SelectionRead: Knowledge(
        EVERY, EVERY, carried="each replica lists and watches itself"
    ),
    selections.NamespaceListed: Knowledge(EVERY, EVERY, carried="each replica lists it itself"),
    writes.WriteRefused: OF_A_WRITE,
    writes.RefusalOver: OF_A_WRITE,
    writes.ObjectContested: OF_A_WRITE,
    writes.ContestOver: OF_A_WRITE,
    writes.ForeignFound: OF_A_WRITE,
    writes.NarrowingUnapplied: Knowledge(
        IDENTITY,
        IDENTITY | ENDPOINT | ROTATION | {ISSUER_VIEW},
        carried="the status of the identity names the closed edges (reported_narrowing)",
    ),
    writes.PlannedElsewhere: Knowledge(
        IDENTITY,
        IDENTITY | ENDPOINT | ROTATION | {ISSUER_VIEW},
        carried="it is what the status of the identity says",
    ),
    writes.IssuerViewWritten: Knowledge(frozenset({ISSUER_VIEW}), frozenset({ISSUER_VIEW})),
}


RECORDS: dict[str, tuple[type, ...]] = {
    "refused": (writes.WriteRefused, writes.RefusalOver),
    "passing": (writes.WriteRefused, writes.RefusalOver),
    "contested": (writes.ObjectContested, writes.ContestOver),
    "foreign": (writes.ForeignFound,),
    "unapplied": (writes.NarrowingUnapplied, writes.PlannedElsewhere),
}
"""What the outcomes of writes become in the world."""


def test_each_outcome_says_who_reads_it() -> None:
    found = {
        each
        for module in (brokers, reviews, selections, writes)
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__
    }
    files = Path(outcomes.__file__).parent.glob("*.py")
    modules = {each.stem for each in files} - {"__init__", "outcome"}
    assert modules == {"brokers", "reviews", "selections", "writes"}, "another module has outcomes"
    assert found == set(OUTCOMES)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: each.__name__)
def test_outcome_reaches_the_plans_that_read_it(outcome: type) -> None:
    known = OUTCOMES[outcome]
    central = (known.writers | known.readers).isdisjoint(BY_NAMESPACE)
    assert central or known.own or known.carried


def test_every_kind_that_is_not_spread_is_in_one_shard() -> None:
    kinds = {each.name for each in KINDS} | {ISSUER_VIEW}
    for kind in kinds - BY_NAMESPACE:
        assert {shard_of(Key(kind, Ref(each, "a")), 5) for each in NAMESPACES[:50]} == {CENTRAL}
    assert kinds >= BY_NAMESPACE
