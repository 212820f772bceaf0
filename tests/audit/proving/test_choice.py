"""Which callees a round proves first."""

from tests import builders
from tests.audit.proving.test_plan import accepting, registry_of
from tests.builders import Manifest
from troth.audit.proving.choice import in_order
from troth.resources.references import Ref

NAMES = [f"callee-{number}" for number in range(20)]


def proven(name: str, hours_ago: int) -> Manifest:
    entry = {
        "peer": "shop/checkout",
        "port": "https",
        "probe": "DeclaredEdge",
        "expectation": "Passes",
        "result": "Inconclusive",
        "provenAt": builders.stamp(builders.NOW - hours_ago * builders.HOUR),
        "evidence": "its pod failed",
    }
    return {**accepting(name), "status": {"proofs": [entry]}}


def test_oldest_proofs_come_first() -> None:
    shop = registry_of(proven("a", 1), proven("b", 3), accepting("c"), proven("d", 2))
    assert [each.name for each in in_order(shop, "1")] == ["c", "b", "d", "a"]


def test_seed_orders_callees_whose_proofs_are_equally_old() -> None:
    """Otherwise the first by name could keep all others from their proofs."""
    shop = registry_of(*map(accepting, NAMES))
    orders = [in_order(shop, str(seed)) for seed in range(20)]
    assert in_order(shop, "0") == orders[0]
    assert all(sorted(each) == sorted(Ref("shop", name) for name in NAMES) for each in orders)
    assert len({each[0] for each in orders}) > 5
