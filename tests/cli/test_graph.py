"""`troth graph` draws what is declared: live, half-declared and refused."""

import json
from pathlib import Path

from typer.testing import CliRunner

from tests.cli.shop import written
from troth.cli.main import app


def drawn(folder: Path, notation: str) -> str:
    result = CliRunner().invoke(app, ["graph", "-f", str(written(folder)), "-o", notation])
    assert result.exit_code == 0, result.output
    return result.output


def test_mermaid_draws_live_edges_solid_and_others_dotted(tmp_path: Path) -> None:
    lines = [line.strip() for line in drawn(tmp_path, "mermaid").splitlines()]
    assert lines[0] == "flowchart LR"
    assert 'n_shop__checkout -->|"https"| n_shop__payments' in lines
    assert 'n_shop__checkout -.->|"https · awaits callee"| n_shop__ledger' in lines


def test_dot_groups_by_namespace_and_trust_domain(tmp_path: Path) -> None:
    text = drawn(tmp_path, "dot")
    assert 'label="shop (production)";' in text
    assert '"shop/checkout" -> "shop/payments" [label="https", style=solid];' in text


def test_json_says_why_an_edge_is_not_live(tmp_path: Path) -> None:
    edges = json.loads(drawn(tmp_path, "json"))["edges"]
    assert [(edge["callee"], edge["state"], edge.get("reason")) for edge in edges] == [
        ("shop/ledger", "AwaitingCallee", "PeerMissing"),
        ("shop/payments", "Live", None),
    ]
