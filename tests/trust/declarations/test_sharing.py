"""Identities of one namespace that claim the same ServiceAccount, or could select the same pods."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import NOW, Manifest, at, parsed_identity, stamp
from tests.counting import calls_of
from tests.networkpolicy import selects
from tests.oracle import LABELS
from tests.strategies import selectors
from troth.planning.planner import plan
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.sharing import MOST_NAMED, WorkloadClaims
from troth.trust.edges.declared import all_edges
from troth.world.keys import Keys, identity_key
from troth.world.world import World

Selection = Callable[[int], Manifest]


def expression(key: str, operator: str, *values: str) -> Manifest:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def by(*expressions: Manifest) -> Manifest:
    return {"matchExpressions": list(expressions)}


APART: dict[str, Selection] = {
    "one value": lambda number: by(expression("app", "In", f"w{number}")),
    "two values": lambda number: by(expression("app", "In", f"w{number}", f"v{number}")),
    "a value that must not be another's": lambda number: by(
        expression("app", "In", f"w{number}"), expression("tier", "NotIn", "back")
    ),
    "two groups": lambda number: by(
        expression("web" if number % 2 else "batch", "In", f"w{number}"),
        *([expression("batch", "DoesNotExist")] if number % 2 else []),
    ),
}
"""Selectors of which no two overlap."""
ALIKE: dict[str, Selection] = {
    "any value": lambda _: by(expression("app", "Exists")),
    "any value but one": lambda number: by(expression("app", "NotIn", f"w{number}")),
    "a label of its own": lambda number: {"matchLabels": {f"app-{number}": "x"}},
}
"""Selectors that all overlap."""


def identities(selection: Selection, count: int) -> list[Manifest]:
    return [builders.identity(f"w{number:04}", pods=selection(number)) for number in range(count)]


def ref_of(number: int) -> Ref:
    return Ref("shop", f"w{number:04}")


@given(
    st.lists(st.tuples(selectors(), st.sampled_from("xyz")), min_size=1, max_size=8),
    st.lists(st.integers(0, 7), max_size=4),
)
def test_claims_are_those_of_brute_force(
    made: list[tuple[Manifest, str]], removed: list[int]
) -> None:
    declared = [
        parsed_identity(builders.identity(f"w{number}", pods=pods, account=account))
        for number, (pods, account) in enumerate(made)
    ]
    claims = WorkloadClaims()
    for each in declared:
        claims.add(each)
    for number in {number for number in removed if number < len(declared)}:
        claims.remove(declared[number])
    left = [(each, *made[number]) for number, each in enumerate(declared) if number not in removed]
    for one, pods, account in left:
        others = [(each.ref, other, name) for each, other, name in left if each is not one]
        assert claims.with_same_account(one) == {ref for ref, _, name in others if name == account}
        assert claims.with_same_pods(one) == {
            ref
            for ref, other, _ in others
            if any(selects(pods, labels) and selects(other, labels) for labels in LABELS)
        }


def observed(manifests: list[Manifest]) -> tuple[World, list[Keys]]:
    world = World("troth-system")
    for manifest in (builders.domain(), builders.namespace("shop", domain="production")):
        world.observe(manifest, uptime=0.0)
    return world, [world.observe(each, uptime=0.0) for each in manifests]


@pytest.mark.parametrize("selection", [*APART.values(), *ALIKE.values()], ids=[*APART, *ALIKE])
def test_work_for_an_identity_does_not_grow_with_its_namespace(selection: Selection) -> None:
    """The first identities are planned once before the count, so nothing is created lazily."""

    def work(count: int) -> int:
        world, _ = observed(identities(selection, count))
        last = identities(selection, count + 1)[-1]

        def come_and_plan() -> None:
            world.observe(last, uptime=0.0)
            plan(identity_key(ref_of(count)), world, at(NOW))

        return calls_of(come_and_plan)

    work(2 * MOST_NAMED)
    few, many = work(2 * MOST_NAMED), work(8 * MOST_NAMED)
    # counting the collisions of all others is one addition for each, and none for those apart
    assert many <= few + 4 * 6 * MOST_NAMED


@pytest.mark.parametrize("selection", ALIKE.values(), ids=ALIKE)
@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_collision_among_many_requeues_only_a_few(selection: Selection, backwards: bool) -> None:
    manifests = identities(selection, 4 * MOST_NAMED)
    world, affected = observed([*reversed(manifests)] if backwards else manifests)
    assert max(map(len, affected)) <= MOST_NAMED + 2
    assert {len(keys) for keys in affected[MOST_NAMED + 3 :]} == {1}
    for number in range(3 * MOST_NAMED - 2):
        assert world.forget("ServiceIdentity", ref_of(number), 1, uptime=0.0) == {
            identity_key(ref_of(number))
        }


def messages(registry: Registry) -> dict[Ref, str]:
    found = {ref: registry.shared_identity(ref) for ref in registry.identities}
    return {ref: shared.message for ref, shared in found.items() if shared is not None}


def test_collision_with_too_many_names_none() -> None:
    registry = builders.registry(*identities(ALIKE["any value"], MOST_NAMED + 2))
    (message,) = set(messages(registry).values())
    assert message == (
        f"more than {MOST_NAMED} other ServiceIdentities of namespace shop can select the same "
        "pods; give each workload its own ServiceAccount, and all podSelectors a common label, "
        "such as app, with different values"
    )
    registry.drop_identity(ref_of(MOST_NAMED + 1))
    assert "shop/w0000 and shop/w0003 can select the same" in messages(registry)[ref_of(3)]


def test_account_shared_by_too_many_names_none() -> None:
    same = [
        builders.identity(f"w{number:04}", account="default") for number in range(MOST_NAMED + 2)
    ]
    registry = builders.registry(*same)
    (message,) = set(messages(registry).values())
    assert "use the ServiceAccount default too; give each" in message
    registry.drop_identity(ref_of(0))
    assert "shop/w0001 and shop/w0003 use the same Ser" in messages(registry)[ref_of(3)]


ANY = {"matchExpressions": [expression("app", "Exists")]}


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"account": "payments"}, {"account": "payments"}, "audit"),  # the account is payments'
        ({"account": "x", "made": 1}, {"account": "x", "made": 2}, "payments"),
        ({"account": "x", "made": 1}, {"account": "x"}, "payments"),  # not applied yet
        ({"account": "x"}, {"account": "x"}, None),
        ({"pods": ANY}, {}, "audit"),  # it selects every pod of payments
        ({}, {"pods": ANY}, "payments"),
        ({"pods": {"matchLabels": {"tier": "a"}}}, {}, None),
        ({"pods": {"matchLabels": {"tier": "a"}}, "made": 2}, {"made": 1}, "audit"),
    ],
)
def test_collision_names_the_identity_to_change(
    one: Manifest, other: Manifest, found: str | None
) -> None:
    def made(name: str, given: Manifest) -> Manifest:
        spec = dict(given)
        age = spec.pop("made", None)
        manifest = builders.identity(name, **spec)
        if age is not None:
            created = stamp(NOW + timedelta(days=age))
            manifest["metadata"] = {**manifest["metadata"], "creationTimestamp": created}
        return manifest

    registry = builders.registry(made("audit", one), made("payments", other))
    for name, peer in (("audit", "payments"), ("payments", "audit")):
        shared = registry.shared_identity(Ref("shop", name))
        assert shared is not None
        assert shared.other == Ref("shop", peer)
        assert shared.culprit == (found and Ref("shop", found))
        assert "shop/audit" in shared.message
        assert "shop/payments" in shared.message


def test_peer_of_a_collision_says_which_two_collide() -> None:
    """It names both, so that its caller does not look for the fault in itself."""
    registry = builders.registry(
        builders.namespace("shop", domain="production"),
        builders.domain(),
        builders.identity("web", calls=[builders.call("payments")]),
        builders.identity("payments", ports=["https"], accepts=[builders.accept("web")]),
        builders.identity("audit", account="payments"),
    )
    (edge,) = all_edges(registry, NOW)
    assert edge.reason == "SharedIdentity"
    assert edge.message == (
        "ServiceIdentities shop/audit and shop/payments use the same ServiceAccount payments; give "
        "shop/audit a ServiceAccount of its own"
    )


def test_identities_of_one_age_are_both_told_to_have_an_account_of_their_own() -> None:
    registry = builders.registry(
        *(builders.identity(name, account="x") for name in ("audit", "payments"))
    )
    shared = registry.shared_identity(Ref("shop", "audit"))
    assert shared is not None
    assert shared.message == (
        "ServiceIdentities shop/audit and shop/payments use the same ServiceAccount x; give each "
        "workload a ServiceAccount of its own"
    )
