"""docs/edges.md explains every state and reason of an edge."""

import json
from types import ModuleType

import pytest
from typer.testing import CliRunner

from tests.guides.pages import ROOT, page, reasons, unexplained
from troth.cli.main import app
from troth.resources.identity.status import EdgeState
from troth.trust.declarations import governance
from troth.trust.edges import deliveries, evaluation, federation

GUIDE = page("edges.md")


@pytest.mark.parametrize(
    "module", [evaluation, deliveries, governance, federation], ids=lambda module: module.__name__
)
def test_every_reason_is_explained(module: ModuleType) -> None:
    assert set(reasons(module))
    assert unexplained(module, GUIDE) - {"TrustDomain"} == set()


def test_every_state_is_explained() -> None:
    assert {state for state in EdgeState if f"| `{state}` |" not in GUIDE} == set()


def test_shown_edge_is_one_of_the_shop() -> None:
    shop = str(ROOT / "examples" / "shop")
    drawn = CliRunner().invoke(app, ["graph", "-f", shop, "-o", "json"])
    (edge,) = (
        each for each in json.loads(drawn.stdout)["edges"] if each["caller"] == "finance/reporting"
    )
    callee, port = edge["callee"], edge["port"]
    said = f'Outbound {callee} ["{port}"] {edge["state"]} {edge["reason"]}: {edge["message"]}\n'
    assert said in GUIDE
