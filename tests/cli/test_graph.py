"""`troth graph` draws declared edges: live, half-declared and refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests import builders
from tests.broker_builders import publisher
from tests.cli import market
from tests.cli.api_server import serving
from tests.cli.shop import SHOP, written
from troth.cli.main import app
from troth.resources.kinds import KINDS
from troth.resources.manifests import dump


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


def test_json_has_the_reason_of_an_edge_that_is_not_live(tmp_path: Path) -> None:
    edges = json.loads(drawn(tmp_path, "json"))["edges"]
    assert [(edge["callee"], edge["state"], edge.get("reason")) for edge in edges] == [
        ("shop/ledger", "AwaitingCallee", "PeerMissing"),
        ("shop/payments", "Live", None),
    ]


def with_topics(folder: Path, notation: str) -> str:
    """Return the graph of a market whose `checkout` names no policy, and `fulfilment` does."""
    silent = publisher()
    del silent["spec"]["publishes"]
    market.written(folder, silent)
    result = CliRunner().invoke(app, ["graph", "-f", str(folder), "-o", notation])
    assert result.exit_code == 0, result.output
    return result.output


def test_messages_go_through_their_topic_and_are_dotted_without_consent(
    tmp_path: Path,
) -> None:
    lines = [line.strip() for line in with_topics(tmp_path, "mermaid").splitlines()]
    assert 'topic0[["prod.orders.v1 at messaging/main"]]' in lines
    assert 'topic0 -->|"group fulfilment"| n_shop__fulfilment' in lines
    assert 'n_shop__checkout -.->|"awaits identity"| topic0' in lines


def test_dot_and_json_have_the_same_grants(tmp_path: Path) -> None:
    text = with_topics(tmp_path, "dot")
    topic = '"prod.orders.v1 at messaging/main"'
    assert f'{topic} -> "shop/fulfilment" [label="group fulfilment", style=solid];' in text
    assert f'"shop/checkout" -> {topic} [label="awaits identity", style=dashed];' in text
    grants = json.loads(with_topics(tmp_path, "json"))["grants"]
    assert [(each["identity"], each["state"]) for each in grants] == [
        ("shop/checkout", "AwaitingIdentity"),
        ("shop/fulfilment", "Live"),
    ]


def test_namespace_is_selected_by_its_metadata_name_label(tmp_path: Path) -> None:
    text = SHOP.replace(
        "{matchLabels: {environment: production}}",
        "{matchLabels: {kubernetes.io/metadata.name: shop}}",
    )
    output = CliRunner().invoke(app, ["graph", "-f", str(written(tmp_path, text))]).output
    assert "shop (production)" in output


def test_manifest_without_a_namespace_is_in_that_of_the_context(tmp_path: Path) -> None:
    objects: dict[str, list[builders.Manifest]] = {kind.plural: [] for kind in KINDS}
    objects["namespaces"] = [builders.namespace("shop")]
    web = builders.identity("web")
    del web["metadata"]["namespace"]
    (tmp_path / "web.yaml").write_text(dump(web))
    with serving(tmp_path, objects) as served:
        files = ["-f", str(tmp_path / "web.yaml"), "--kubeconfig", str(served.kubeconfig)]
        result = CliRunner().invoke(app, ["graph", *files, "-o", "json"])
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.output)["identities"]
    assert found["namespace"] == "shop"


def across(watched: list[str]) -> dict[str, list[builders.Manifest]]:
    """Return a cluster in which `legal/web` may call `shop/payments`, as both declare."""
    objects: dict[str, list[builders.Manifest]] = {kind.plural: [] for kind in KINDS}
    objects["namespaces"] = [
        builders.namespace(each, domain="production") for each in ("legal", "shop")
    ]
    objects["trustdomains"] = [builders.domain() | {"status": {"watchedNamespaces": watched}}]
    calls = [builders.call("payments", "https", namespace="shop")]
    accepts = [builders.accept("web", "https", namespace="legal")]
    objects["serviceidentities"] = [
        builders.identity("web", "legal", calls=calls),
        builders.identity("payments", ports=[("https", 8443)], accepts=accepts),
    ]
    return objects


@pytest.mark.parametrize(
    ("watched", "state"), [([], "Live"), (["legal", "shop"], "Live"), (["shop"], "AwaitingCaller")]
)
def test_edge_to_a_namespace_that_troth_does_not_watch_is_not_live(
    tmp_path: Path, watched: list[str], state: str
) -> None:
    with serving(tmp_path, across(watched)) as served:
        options = ["--kubeconfig", str(served.kubeconfig), "-o", "json"]
        found = json.loads(CliRunner().invoke(app, ["graph", *options]).output)
    (edge,) = found["edges"]
    assert edge["state"] == state
    assert ("Troth does not watch namespace legal" in edge.get("message", "")) == (state != "Live")
    (web,) = (each for each in found["identities"] if each["namespace"] == "legal")
    assert (web["declared"], web["trustDomain"]) == (
        (True, "production") if state == "Live" else (False, None)
    )


def test_watched_namespaces_of_files_are_those_of_the_option(tmp_path: Path) -> None:
    files = ["-f", str(market.written(tmp_path)), "-o", "json"]
    for watched, state in (("shop,messaging", "Live"), ("shop", "Refused")):
        arguments = ["graph", *files, "--watched-namespaces", watched]
        grants = json.loads(CliRunner().invoke(app, arguments).output)["grants"]
        assert {each["state"] for each in grants} == {state}
