"""`troth token explain` names the line that gives each scope, and the side that lacks one."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from tests.cli.api_server import serving
from tests.cli.shop import SHOP
from tests.cli.tokens import CHECKOUT, DOMAIN, ISSUER, PAYMENTS, access, mounted
from troth.cli.main import app
from troth.cli.token import cluster as token_cluster
from troth.cluster.selection import Selection
from troth.planning.moment import Moment
from troth.planning.trust_domain.issuer.configuration import compiled
from troth.planning.trust_domain.view import gather_issuer
from troth.resources.faults import FaultyManifests
from troth.resources.manifests import Manifest
from troth.world.reader import Reader
from troth.world.world import World

TOKENS = (
    SHOP.replace(
        "  authority: {selfManaged: {}}\n", "  authority: {selfManaged: {}}\n  tokens: {}\n"
    )
    .replace("authentication: {mtls: {}}\n  accepts", "authentication: {token: {}}\n  accepts")
    .replace(
        "scopes: [payments.charge]}\n",
        "scopes: [payments.charge, payments.refund]}\n"
        "  - from: {name: checkout}\n    ports: [admin]\n    scopes:\n    - payments.admin\n",
    )
    .replace("{name: https, port: 8443}", "{name: https, port: 8443}, {name: admin, port: 8444}")
    .replace(
        "{to: {name: payments}, ports: [https]}",
        "{to: {name: payments}, ports: [https], scopes: [payments.charge, payments.admin, see]}",
    )
)

PAYMENTS_MANIFEST = TOKENS.split("---")[2]


def explained(folder: Path, *arguments: str, text: str = TOKENS) -> Result:
    (folder / "shop.yaml").write_text(text)
    return CliRunner().invoke(app, ["token", "explain", *arguments, "-f", str(folder)])


def document(
    folder: Path, caller: str = "shop/checkout", callee: str = "shop/payments", text: str = TOKENS
) -> dict[str, Any]:
    result = explained(folder, caller, callee, "-o", "json", text=text)
    told: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if told["issued"] else 1)
    return told


def line_of(folder: Path, text: str) -> str:
    lines = (folder / "shop.yaml").read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, start=1) if text in line]
    return f"{folder}/shop.yaml:{number}"


def test_held_scope_names_both_lines(tmp_path: Path) -> None:
    told = document(tmp_path)
    (charge,) = [each for each in told["scopes"] if each["scope"] == "payments.charge"]
    assert charge["held"] is True
    assert charge["ports"] == ["https"]
    (given,), (asked,) = charge["given"], charge["asked"]
    assert given["line"] == line_of(tmp_path, "scopes: [payments.charge, payments.refund]")
    assert given["path"] == "spec.accepts[0].scopes[0]"
    assert given["resource"] == "ServiceIdentity shop/payments"
    assert asked["line"] == line_of(tmp_path, "scopes: [payments.charge, payments.admin, see]")
    assert asked["path"] == "spec.calls[0].scopes[0]"


def test_withheld_scope_names_the_missing_consent(tmp_path: Path) -> None:
    missing = {each["scope"]: each.get("missing") for each in document(tmp_path)["scopes"]}
    assert missing == {
        "payments.charge": None,
        "payments.refund": "shop/checkout does not request it",
        "see": "shop/payments does not grant it",
        "payments.admin": "shop/payments grants it only on admin, and no edge there is live",
    }


def test_text_output_names_the_line_to_change(tmp_path: Path) -> None:
    result = explained(tmp_path, "checkout", "payments")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "✓ payments.charge on https" in lines
    assert "✗ payments.refund withheld: shop/checkout does not request it" in lines
    assert "lifetime 5m" in lines
    number = line_of(tmp_path, "{to: {name: payments}").rpartition(":")[2]
    assert [line for line in lines if line.startswith("add to") and "spec.calls[0].scopes" in line]
    assert f"shop.yaml:{number}" in "".join(result.stdout.split())


def test_line_to_change_is_an_entry_whose_scopes_count(tmp_path: Path) -> None:
    """The first entry's port has no live edge, so a scope added there has no effect."""
    two = [
        {"from": {"name": "checkout"}, "ports": [port], "scopes": ["payments.charge"]}
        for port in ("admin", "https")
    ]
    documents = list(yaml.safe_load_all(TOKENS))
    for each in documents:
        if (each["kind"], each["metadata"]["name"]) == ("ServiceIdentity", "payments"):
            each["spec"]["accepts"] = two
    result = explained(tmp_path, "checkout", "payments", text=yaml.safe_dump_all(documents))
    assert result.exit_code == 0, result.output
    adding = [line.split()[-1] for line in result.stdout.splitlines() if "add to" in line]
    assert set(adding) == {"spec.accepts[1].scopes"}


def test_audience_issuer_and_lifetime_are_shown(tmp_path: Path) -> None:
    told = document(tmp_path)
    assert (told["audience"], told["issuer"]) == (PAYMENTS, ISSUER)
    own = TOKENS.replace("{token: {}}", "{token: {audience: 'https://pay.example', lifetime: 60s}}")
    told = document(tmp_path, text=own)
    assert (told["audience"], told["lifetime"]) == ("https://pay.example", "60s")


def test_edge_that_is_not_live_gives_no_token_and_its_reason(tmp_path: Path) -> None:
    told = document(tmp_path, text=TOKENS.replace("from: {name: checkout}", "from: {name: other}"))
    assert told["issued"] is False
    assert {edge["reason"] for edge in told["edges"]} == {"NotAccepted"}
    assert not [each for each in told["scopes"] if each["held"]]


def test_domain_without_tokens_gives_no_token(tmp_path: Path) -> None:
    told = document(tmp_path, text=TOKENS.replace("  tokens: {}\n", ""))
    assert "TokensNotEnabled" in {edge["reason"] for edge in told["edges"] if "reason" in edge}
    assert told["issued"] is False


def test_suspended_edge_says_that_issued_scopes_stay(tmp_path: Path) -> None:
    another = TOKENS.split("---")[1].replace("name: production", "name: another")
    text = f"{TOKENS}---{another.replace('prod.shop', 'other.shop')}"
    result = explained(tmp_path, "checkout", "payments", text=text)
    assert result.exit_code == 1
    assert "Suspended: NamespaceOverlap" in result.stdout
    assert "the issuer keeps issuing what it issued before" in result.stdout


def test_callee_without_tokens_has_its_own_message(tmp_path: Path) -> None:
    text = TOKENS.replace("authentication: {token: {}}", "authentication: {mtls: {}}")
    result = explained(tmp_path, "checkout", "payments", text=text)
    assert result.exit_code == 1
    assert "NotTokenPattern: shop/payments accepts no tokens" in result.stdout
    assert "✓" not in result.stdout


def test_identities_that_do_not_name_each_other_are_reported(tmp_path: Path) -> None:
    result = explained(tmp_path, "payments", "checkout")
    assert result.exit_code == 1
    assert "neither declares the other" in result.stdout


def test_missing_callee_is_explained(tmp_path: Path) -> None:
    told = document(tmp_path, callee="shop/ledger")
    assert told["edges"][0]["reason"] == "PeerMissing"


def test_unknown_or_ambiguous_name_is_rejected(tmp_path: Path) -> None:
    result = explained(tmp_path, "shop/checkout", "nobody")
    assert str(result.exception) == "ServiceIdentity nobody: not found; write NAMESPACE/NAME"
    payments = PAYMENTS_MANIFEST
    twice = f"{TOKENS}---{payments.replace('namespace: shop', 'namespace: other')}"
    result = explained(tmp_path, "shop/checkout", "payments", text=twice)
    assert "write other/payments or shop/payments" in str(result.exception)


def test_line_is_found_in_json_and_in_a_list(tmp_path: Path) -> None:
    items = list(yaml.safe_load_all(TOKENS))
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)
    told = {each["scope"]: each for each in document(tmp_path, text=listed)["scopes"]}
    (given,) = told["payments.refund"]["given"]
    assert given["line"] == line_of(tmp_path, '"payments.refund"')


def test_file_that_is_no_manifest_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("kind: Values\nlist: [1]\n--- \n")
    assert document(tmp_path)["issued"] is True


def test_explanation_agrees_with_the_issuers_view(tmp_path: Path) -> None:
    world = World("troth-system")
    for manifest in yaml.safe_load_all(TOKENS):
        world.observe(manifest, uptime=0.0)
    domain = world.registry.domains["production"]
    moment = Moment(datetime.now(UTC), 0.0, timedelta(0))
    issuer = gather_issuer(domain, Reader(world), moment)
    view = json.loads(gzip.decompress(compiled(issuer, {})))
    audiences = view["callers"][CHECKOUT]["audiences"]
    told = document(tmp_path)
    held = [each["scope"] for each in told["scopes"] if each["held"]]
    assert audiences == {told["audience"]: {"scopes": held, "lifetime": 300}}
    assert view["issuer"] == told["issuer"]


# From a cluster


class Server:
    """API server with a fixed set of objects."""

    def __init__(self, *manifests: Manifest) -> None:
        self.manifests = manifests

    async def listed(self, kind: str, namespace: str = "") -> list[Manifest]:
        of_kind = [each for each in self.manifests if each["kind"] == kind]
        return [each for each in of_kind if namespace in ("", each["metadata"].get("namespace"))]

    async def pages(self, selection: Selection) -> AsyncIterator[dict[str, Any]]:
        yield {"items": await self.listed(selection.kind, selection.namespace)}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(*yaml.safe_load_all(TOKENS))

    @asynccontextmanager
    async def connected(*_: object) -> AsyncIterator[Server]:
        yield server

    monkeypatch.setattr(token_cluster, "connected", connected)
    return server


def test_explanation_from_a_cluster_names_resource_and_path(cluster: Server) -> None:
    result = CliRunner().invoke(app, ["token", "explain", "shop/checkout", "shop/payments"])
    assert result.exit_code == 0, result.output
    assert "ServiceIdentity shop/payments" in result.stdout
    assert "spec.accepts[0].scopes[0]" in result.stdout


def verified_in(namespace: str) -> Result:
    arguments = ["token", "verify", "-a", PAYMENTS, "-n", namespace]
    return CliRunner().invoke(app, arguments, input=access())


def test_keys_and_issuers_come_from_the_cluster(cluster: Server, tmp_path: Path) -> None:
    bundles = (mounted(tmp_path) / "bundle-map.json").read_text()
    cluster.manifests = (*cluster.manifests, bundle("trust-bundle", bundles))
    result = verified_in("shop")
    assert result.exit_code == 0, result.output
    assert f"in the bundle of {DOMAIN}" in result.stdout


def test_conflicting_bundles_are_rejected(cluster: Server, tmp_path: Path) -> None:
    """A user who may write ConfigMaps in a namespace can create one with Troth's labels."""
    bundles = (mounted(tmp_path) / "bundle-map.json").read_text()
    other = bundle("trust-bundle", bundles.replace(DOMAIN, "other.example"))
    cluster.manifests = (*cluster.manifests, bundle("a-bundle", bundles), other)
    result = verified_in("shop")
    assert isinstance(result.exception, FaultyManifests)
    assert "a-bundle and trust-bundle have different keys" in str(result.exception)


def bundle(name: str, text: str) -> Manifest:
    metadata = {"name": name, "namespace": "shop"}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"bundle-map.json": text}}


def test_namespace_without_a_bundle_is_reported(cluster: Server) -> None:
    result = verified_in("elsewhere")
    assert isinstance(result.exception, FaultyManifests)
    assert "no ConfigMap of Troth there has bundle-map.json" in str(result.exception)


def test_manifests_without_a_namespace_are_in_that_of_the_context(tmp_path: Path) -> None:
    text = TOKENS.replace(", namespace: shop", "")
    objects: dict[str, list[Manifest]]
    objects = {"namespaces": [], "trustdomains": [], "serviceidentities": []}
    with serving(tmp_path, objects) as served:
        config = ("--kubeconfig", str(served.kubeconfig))
        (tmp_path / "manifests").mkdir()
        pair = ("shop/checkout", "shop/payments")
        result = explained(tmp_path / "manifests", *pair, *config, text=text)
    assert result.exit_code == 0, result.output


# Namespaces that Troth does not watch

ABROAD = (
    TOKENS.replace("checkout, namespace: shop", "checkout, namespace: legal")
    .replace("{name: checkout}", "{name: checkout, namespace: legal}")
    .replace("{name: payments}", "{name: payments, namespace: shop}")
    + """---
apiVersion: v1
kind: Namespace
metadata: {name: legal, labels: {environment: production}}
"""
)


@pytest.mark.parametrize(("watched", "issued"), [("legal,shop", True), ("shop", False)])
def test_identity_in_a_namespace_that_troth_does_not_watch_gets_no_token(
    tmp_path: Path, watched: str, issued: bool
) -> None:
    pair = ("legal/checkout", "shop/payments")
    options = ("-o", "json", "--watched-namespaces", watched)
    told = json.loads(explained(tmp_path, *pair, *options, text=ABROAD).stdout)
    assert told["issued"] is issued
    messages = [each.get("message", "") for each in told["edges"] if each["port"] == "https"]
    assert ["Troth does not watch namespace legal" in each for each in messages] == [not issued]


def test_watched_namespaces_of_a_cluster_are_those_of_its_trust_domains(cluster: Server) -> None:
    for watched, issued in ((["legal", "shop"], True), (["shop"], False)):
        cluster.manifests = tuple(
            each | {"status": {"watchedNamespaces": watched}}
            if each["kind"] == "TrustDomain"
            else each
            for each in yaml.safe_load_all(ABROAD)
        )
        arguments = ["token", "explain", "legal/checkout", "shop/payments", "-o", "json"]
        told = json.loads(CliRunner().invoke(app, arguments).stdout)
        assert told["issued"] is issued


def test_identity_that_nothing_watched_names_is_said_to_have_no_effect(tmp_path: Path) -> None:
    silent = ABROAD.replace("{name: checkout, namespace: legal}", "{name: web}")
    pair = ("shop/payments", "legal/checkout")
    result = explained(tmp_path, *pair, "--watched-namespaces", "shop", text=silent)
    assert isinstance(result.exception, FaultyManifests)
    sentence = "Troth does not watch namespace legal; add it to the chart value namespaces"
    assert f"ServiceIdentity legal/checkout: {sentence}" in str(result.exception)
