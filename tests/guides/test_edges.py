"""docs/edges.md explains every state and reason of an edge."""

from types import ModuleType

import pytest

from tests.guides.pages import page, reasons, unexplained
from troth.resources.identity.status import EdgeState
from troth.trust import deliveries, edges, federation, governance

GUIDE = page("edges.md")


@pytest.mark.parametrize(
    "module", [edges, deliveries, governance, federation], ids=lambda module: module.__name__
)
def test_every_reason_is_explained(module: ModuleType) -> None:
    assert set(reasons(module))
    assert unexplained(module, GUIDE) - {"TrustDomain"} == set()


def test_every_state_is_explained() -> None:
    assert {state for state in EdgeState if f"| `{state}` |" not in GUIDE} == set()
