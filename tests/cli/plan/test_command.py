"""`troth plan` shows the effects of manifests, from the files alone, and changes nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from tests import broker_builders
from tests.broker_builders import ORDERS, give_credentials, orders, publisher, sync_broker
from tests.builders import NOW, OWN, Manifest, stamp
from tests.cli import market
from tests.cli.shop import SHOP, written
from tests.messaging import KAFKA, broker
from tests.planning.identity.test_schema_files import publisher as wide_publisher
from tests.planning.identity.test_schema_files import wide
from troth.cli.evaluation.basis import Basis
from troth.cli.inputs.sources import collect
from troth.cli.main import app
from troth.cli.plan.broker_preview import AtBrokers, at_brokers
from troth.cli.plan.preview import preview
from troth.cli.plan.render import show
from troth.resources.references import Ref
from troth.world.world import World


def planned(folder: Path) -> Result:
    return CliRunner().invoke(app, ["plan", "-f", str(folder)])


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "troth.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_every_effect_is_shown_and_reflected_in_the_exit_code(
    tmp_path: Path,
) -> None:
    result = planned(written(tmp_path))
    assert result.exit_code == 1, result.output
    for line in (
        "+ Secret shop/payments-identity",
        "+ NetworkPolicy shop/checkout-troth",
        "+ ConfigMap shop/trust-bundle",
        "+ Secret troth-system/production-authority",
        "    shop/checkout → shop/payments:https",
        "+ NetworkPolicy shop/troth-isolation",
        "7 to add, 0 to change, 0 to remove",
    ):
        assert line in result.output.splitlines()


def test_nothing_is_planned_where_troth_does_not_watch(tmp_path: Path) -> None:
    folder = str(written(tmp_path))
    output = command("plan", "-f", folder, "--watched-namespaces", "legal").stdout
    assert "+ Secret troth-system/production-authority" in output
    assert "shop/payments-identity" not in output
    assert "shop/troth-isolation" not in output


def test_private_key_and_certificate_are_never_shown(tmp_path: Path) -> None:
    output = planned(written(tmp_path)).output
    assert "BEGIN" not in output
    assert "LS0t" not in output  # the same, in base64


def test_two_runs_have_the_same_output_despite_new_keys(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert planned(folder).output == planned(folder).output


def test_faults_are_listed_with_their_correction(tmp_path: Path) -> None:
    output = planned(written(tmp_path)).output
    assert "shop/ledger does not exist; create it or remove the entry" in output


def test_plan_without_changes_exits_with_0(tmp_path: Path) -> None:
    result = planned(written(tmp_path, SHOP.split("---")[0]))
    assert result.exit_code == 0
    assert result.output.strip() == "0 to add, 0 to change, 0 to remove"


@pytest.mark.parametrize(
    ("wrong", "right", "sentence"),
    [
        (
            "ports: [https], scopes",
            "prts: [https], scopes",
            (
                "ServiceIdentity shop/payments: spec.accepts[0].prts: unknown field; did you mean "
                "ports?"
            ),
        ),
        (
            "ports: [{name: https, port: 8443}]",
            "ports: [{name: http, port: 8443}]",
            (
                "ServiceIdentity shop/payments: spec: declare under workload.ports every port that "
                "accepts or exceptions name"
            ),
        ),
        (
            "kind: TrustDomain",
            "kind: TrustDomian",
            'TrustDomian production: kind: "TrustDomian": unknown; did you mean TrustDomain? write',
        ),
        (
            "environment: production\n  namespace",
            "namespace",
            "TrustDomain production: spec.environment: required; add it",
        ),
        ("apiVersion: v1\n", "apiVersion: [\n", "not valid YAML: expected"),
    ],
)
def test_fault_names_file_object_field_and_correction(
    tmp_path: Path, wrong: str, right: str, sentence: str
) -> None:
    assert wrong in SHOP
    result = command("plan", "-f", str(written(tmp_path, SHOP.replace(wrong, right, 1))))
    assert result.returncode == 2
    assert re.search(rf"{tmp_path}/shop.yaml:\d+: {re.escape(sentence)}", result.stderr)
    assert "Traceback" not in result.stderr


def test_faults_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    folder = written(tmp_path, SHOP.replace("mtls: {}", "mtls: {lifetime: soon}"))
    (folder / "more.yaml").write_text("- a list\n")
    lines = command("plan", "-f", str(folder)).stderr.splitlines()
    assert len(lines) == 3
    assert "not a Kubernetes object; give it apiVersion, kind and metadata" in lines[0]


def test_object_given_twice_is_rejected(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (folder / "again.yaml").write_text(SHOP)
    assert "defined twice; it is also in" in command("plan", "-f", str(folder)).stderr


def test_missing_folder_is_named(tmp_path: Path) -> None:
    result = command("plan", "-f", str(tmp_path / "nowhere"))
    assert result.returncode == 2
    assert "nowhere: no such file or folder" in result.stderr


# Brokers, which the command does not query


def under(title: str, output: str) -> list[str]:
    """Return the indented lines below a title."""
    lines = output.splitlines()
    if title not in lines:
        return []
    after = lines[lines.index(title) + 1 :]
    return [line.strip() for line in after[: _end(after)]]


def _end(lines: list[str]) -> int:
    return next((at for at, line in enumerate(lines) if not line.startswith("    ")), len(lines))


def test_new_grants_are_shown_with_the_credentials_they_need(tmp_path: Path) -> None:
    output = planned(market.written(tmp_path)).output
    assert under("Grants to add", output) == [
        "prod.orders.v1 at messaging/main → shop/fulfilment, group fulfilment",
        "shop/checkout → prod.orders.v1 at messaging/main",
    ]
    assert under("Credentials to issue", output) == [
        "Secret shop/checkout-main, once messaging/main answers",
        "Secret shop/fulfilment-main, once messaging/main answers",
    ]


def test_unqueried_broker_needs_no_attention(tmp_path: Path) -> None:
    assert "Needs attention" not in planned(market.written(tmp_path)).output


def test_missing_consent_needs_attention(tmp_path: Path) -> None:
    silent = publisher()
    del silent["spec"]["publishes"]
    output = planned(market.written(tmp_path, silent)).output
    (line,) = under("Needs attention", output)
    assert re.sub(r":[0-9]+: ", ": ", line) == (
        f"{tmp_path}/market.yaml: error: TopicPolicy shop/orders: spec.producers[0]: "
        "shop/checkout does not name shop/orders; add it to its publishes [PolicyNotNamed]"
    )
    assert len(under("Grants to add", output)) == 1


def test_broker_in_plan_mode_gets_no_grants(tmp_path: Path) -> None:
    output = planned(market.written(tmp_path, broker(mode="Plan"))).output
    assert "Grants to add" not in output
    assert "Credentials to issue" not in output


def test_client_with_a_certificate_gets_no_credential(tmp_path: Path) -> None:
    by_certificate = broker(described={"kafka": KAFKA["kafka"] | {"clients": "MTLS"}})
    output = planned(market.written(tmp_path, by_certificate)).output
    assert len(under("Grants to add", output)) == 2
    assert "Credentials to issue" not in output


def test_schema_in_the_folder_is_used_and_is_no_change(tmp_path: Path) -> None:
    schema = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "orders", "namespace": "shop", "labels": {"troth.dev/schema": "true"}},
        "data": {"schema.json": '{"type": "object"}'},
    }
    held = orders(schema={"configMapRef": {"name": "orders"}})
    output = planned(market.written(tmp_path, held, schema)).output
    assert "ConfigMap shop/orders" not in output
    assert "Needs attention" not in output
    assert 'text: \'{"type":"object"}\'' in output


def test_files_of_schemas_that_do_not_fit_are_shown(tmp_path: Path) -> None:
    policies = [wide(number) for number in range(12)]
    output = planned(market.written(tmp_path, *policies, wide_publisher(12))).output
    shown = output.partition("+ ConfigMap shop/checkout-schemas\n")[2]
    assert re.match(r" +\+schemas:\n +\+- [\w-]{43}\.json\n", shown)


def changes_of_policy(**spec: list[Manifest]) -> AtBrokers:
    """Return the changes under a policy with `spec`, at a broker with all three rules of the old
    policy and a brake of two removals.
    """
    cluster = broker_builders.market(broker(brake={"maxRemovals": 2}))
    give_credentials(cluster, broker_builders.CHECKOUT, broker_builders.FULFILMENT)
    stored = cluster.objects["TopicPolicy", ORDERS]
    stored["metadata"]["finalizers"] = ["troth.dev/broker"]
    cluster.put(stored)
    sync_broker(cluster)
    before = World("")
    for manifest in cluster.objects.values():
        before.observe(manifest, uptime=0.0)
    cluster.put(orders("orders", **spec))
    return at_brokers(before, cluster.world)


def test_removed_grants_are_shown_with_the_brake_that_holds_their_rules() -> None:
    changes = changes_of_policy(producers=[], consumers=[])
    assert changes.begin == ()
    assert changes.end == (
        "prod.orders.v1 at messaging/main → shop/fulfilment, group fulfilment",
        "shop/checkout → prod.orders.v1 at messaging/main",
    )
    assert changes.attention == (
        (
            "MessageBroker messaging/main: Braked: 3 rules are to be removed, but "
            "brake.maxRemovals is 2; to allow it, set the annotation "
            "troth.dev/allow-removals"
        ),
    )


def test_brake_does_not_count_rules_that_are_still_granted() -> None:
    changes = changes_of_policy(producers=[])
    assert changes.end == ("shop/checkout → prod.orders.v1 at messaging/main",)
    assert changes.attention == ()


BY_NAME = SHOP.replace(
    "namespaceSelector: {matchLabels: {environment: production}}",
    "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}",
)


@pytest.mark.parametrize("labels", ["", ", labels: null", ", labels: {team: shop}"])
def test_namespace_is_selected_by_its_metadata_name_label(tmp_path: Path, labels: str) -> None:
    text = BY_NAME.replace(", labels: {environment: production}", labels)
    output = planned(written(tmp_path, text)).output
    assert "    shop/checkout → shop/payments:https" in output.splitlines()
    assert "NoTrustDomain" not in output


def test_metadata_name_label_cannot_have_another_value(tmp_path: Path) -> None:
    labels = ", labels: {kubernetes.io/metadata.name: bank}"
    text = BY_NAME.replace(", labels: {environment: production}", labels)
    output = planned(written(tmp_path, text)).output
    assert "    shop/checkout → shop/payments:https" in output.splitlines()


def test_default_namespaces_exist_without_a_manifest(tmp_path: Path) -> None:
    text = BY_NAME.replace("metadata.name: shop}", "metadata.name: default}")
    output = planned(written(tmp_path, text.replace(", namespace: shop", ""))).output
    assert "    default/checkout → default/payments:https" in output.splitlines()
    assert "+ ConfigMap default/trust-bundle" in output.splitlines()
    assert "NamespaceMissing" not in output


async def test_terminating_resource_opens_nothing_in_the_preview(tmp_path: Path) -> None:
    """An apply removes neither the deletionTimestamp nor a finalizer."""
    manifests = collect([written(tmp_path)])
    payments = manifests.documents["ServiceIdentity", Ref("shop", "payments")].manifest
    held = {"deletionTimestamp": stamp(NOW), "finalizers": ["example.com/hold"]}
    before = {**payments, "metadata": {**payments["metadata"], **held}}
    console = Console(record=True, width=200)
    show(console, await preview(Basis(manifests, [before], OWN), NOW))
    output = console.export_text()
    assert "Edges to open" not in output
    assert "error: ServiceIdentity shop/payments:" in output
    assert "[Terminating]" in output
