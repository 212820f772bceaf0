"""The operator's image, run by a kubelet as the chart declares it, and the life of a release."""

import base64
import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO

import pytest
from cryptography import x509

from sandbox import CommandError, Sandbox, Tier, image
from sandbox.demo.calls.act import show_calls
from sandbox.demo.calls.pods import Pods
from sandbox.demo.calls.table import Call
from sandbox.demo.cast import CHECKOUT, PAYMENTS
from sandbox.demo.cluster import Cluster
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Shop
from sandbox.demo.tokens.act import show_tokens
from sandbox.demo.trials import run
from sandbox.demo.webhooks import table
from sandbox.demo.webhooks.act import show_deliveries
from sandbox.demo.webhooks.example import replay_store
from sandbox.demo.webhooks.gateway import Gateway
from sandbox.demo.webhooks.senders import charge, order
from sandbox.processes import Tether
from tests.chart.rendering import GATEWAY_NAMESPACE, NAMESPACE
from tests.patience import PATIENCE
from tests.sandbox.image_services import Beside, gateways
from tests.sandbox.nodes import apply, is_ready, namespace, pods, skip_without
from tests.sandbox.release import (
    DEPLOYMENTS,
    PATIENCE_OF_HELM,
    PRODUCTION,
    RESTRICTED,
    backup,
    helm,
    install,
    leader,
    leaf,
    policies,
    revisions,
    rolled_out,
    running,
    until,
    upgrade,
)
from tests.sandbox.servers import add_resolver, add_valkey

pytestmark = pytest.mark.timeout(900)  # the first run builds the image


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Yield a node with the chart, installed in one step, and the example shop."""
    if reason := image.unavailable():
        pytest.skip(reason)
    skip_without(Tier.NODE)
    archive = image.ensure()
    with Sandbox.start(tier=Tier.NODE) as sandbox:
        sandbox.node.load_image(archive)
        add_resolver(sandbox)
        store = add_valkey(sandbox, tmp_path_factory.mktemp("valkey"))
        apply(
            sandbox,
            namespace(NAMESPACE, **RESTRICTED),
            namespace(GATEWAY_NAMESPACE, **RESTRICTED, **PRODUCTION),
            replay_store(store),
        )
        helm(sandbox, "install")
        sandbox.kubectl("apply", "-f", "-", stdin=Shop.read().text())
        yield sandbox


def test_all_deployments_become_ready_without_a_restart(installed: Sandbox) -> None:
    for space, deployment, copies in DEPLOYMENTS:
        found = {
            name: pod
            for name, pod in pods(installed, space).items()
            if name.rsplit("-", 2)[0] == deployment
        }
        assert len(found) == copies
        for name, pod in found.items():
            assert is_ready(pod), name
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, name


def test_operator_issues_an_identity(installed: Sandbox) -> None:
    installed.kubectl(
        *("wait", "-n", "shop", "--for=condition=Ready", "serviceidentity/checkout"),
        "--timeout=180s",
    )
    asked = ("get", "secret", "checkout-identity", "-n", "shop", "-o", "json")
    data = json.loads(installed.kubectl(*asked))["data"]
    leaf = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://prod.shop.example/ns/shop/sa/checkout"
    ]


def test_image_has_no_package_installer(installed: Sandbox) -> None:
    look = "from importlib.util import find_spec; print(find_spec('pip'), find_spec('setuptools'))"
    asked = ("exec", "-n", NAMESPACE, "deployment/troth", "--", "python", "-c", look)
    assert installed.kubectl(*asked).strip() == "None None"


def test_image_names_its_source_and_runs_as_an_unprivileged_user(installed: Sandbox) -> None:
    del installed  # its archive exists
    with tarfile.open(image.ensure()) as archive:
        (manifest,) = json.load(_member(archive, "manifest.json"))
        config = json.load(_member(archive, manifest["Config"]))["config"]
    assert config["User"] == "65532:65532"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.source"].startswith("https://")


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    assert file is not None
    return file


# The demo's services, beside these pods


@pytest.fixture(scope="module")
def services(installed: Sandbox) -> Pods:
    """Return the shop's services, which run in pods."""
    cluster, shop = Cluster(installed), Shop.read()
    cluster.settled(shop, lambda _part, _whole: None)
    pods_of_services = Pods(cluster, shop)
    pods_of_services.start(cluster.secrets())
    return pods_of_services


@pytest.fixture
def tether() -> Iterator[Tether]:
    with Tether(Path(tempfile.mkdtemp(prefix="troth-pods-"))) as tied:
        yield tied


def test_services_in_pods_call_each_other_exactly_as_declared(
    installed: Sandbox, services: Pods
) -> None:
    cluster, shop = Cluster(installed), Shop.read()
    statuses = cluster.settled(shop, lambda _part, _whole: None)
    assert show_calls(Screen(), cluster, shop, statuses, services)


def test_services_with_tokens_of_the_issuer_pods_act_exactly_as_declared(
    installed: Sandbox, tether: Tether
) -> None:
    cluster, shop = Cluster(installed), Shop.read()
    cluster.settled(shop, lambda _part, _whole: None)
    issuer = Beside(installed, tether).forward(
        NAMESPACE, "deployment/troth-issuer-production", 8443
    )
    assert show_tokens(Screen(), cluster, tether, shop, issuer)


@pytest.fixture(scope="class")
def gates(installed: Sandbox) -> Iterator[list[Gateway]]:
    """Yield the gateway pods, with a target for their deliveries."""
    with (
        Tether(Path(tempfile.mkdtemp(prefix="troth-pods-"))) as tied,
        gateways(installed, tied) as found,
    ):
        yield found


class TestGatewayPods:
    """Two gateways with one Valkey."""

    def test_pod_delivers_exactly_the_valid_webhooks(self, gates: list[Gateway]) -> None:
        assert show_deliveries(Screen(), gates[0])

    def test_delivery_that_one_accepted_is_not_forwarded_by_the_other(
        self, gates: list[Gateway]
    ) -> None:
        one, other = gates
        for endpoint in one.example.endpoints:
            _, sign = table.SENDERS[endpoint.scheme]
            event = charge() if endpoint.is_given else order()
            delivery = sign(one.key(endpoint), event)
            again = (HTTPStatus.OK, "done-already")
            trials = (
                table.accepted(one, endpoint, "a delivery", delivery),
                table.rejected(other, endpoint, "the same to the other pod", delivery, again),
                table.rejected(one, endpoint, "the same again", delivery, again),
            )
            assert [result.fault for result in run(trials)] == ["", "", ""]


# The life of a release


def test_helm_test_passes(installed: Sandbox) -> None:
    told = installed.helm("test", "troth", "-n", NAMESPACE, "--logs")
    assert "the API server serves 8 kinds of troth.dev" in told
    assert "leads" in told


@pytest.mark.long
def test_another_replica_leads_after_the_leader_is_deleted(installed: Sandbox) -> None:
    before = leader(installed)
    installed.kubectl("delete", "pod", before, "-n", NAMESPACE, "--wait=false")
    until(lambda: leader(installed) not in ("", before))
    rolled_out(installed)
    logs = installed.kubectl("logs", "-n", NAMESPACE, leader(installed))
    assert '"event":"leading"' in logs


@pytest.mark.long
def test_upgrade_adds_a_field_to_a_crd_while_the_operator_runs(installed: Sandbox) -> None:
    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/isolation"
    older = json.dumps([{"op": "remove", "path": schema}])
    crd = "trustdomains.troth.dev"
    installed.kubectl("patch", "crd", crd, "--type=json", "-p", older)
    before = leaf(installed)
    helm(installed, "upgrade")
    assert "isolation" in installed.kubectl("get", "crd", crd, "-o", "yaml")
    assert leaf(installed) == before, "nothing was reissued"
    assert "troth-crds" not in installed.kubectl("get", "clusterroles,sa,jobs", "-A", "-o", "name")


@pytest.mark.long
def test_rollback_returns_to_the_values_before(installed: Sandbox) -> None:
    helm(installed, "upgrade", workers=9)  # of the operator: no other pod is replaced
    revision = revisions(installed)[-2]
    waiting = "--wait", "--timeout", PATIENCE_OF_HELM
    installed.helm("rollback", "troth", str(revision["revision"]), "-n", NAMESPACE, *waiting)
    shown = installed.kubectl("get", "deployment", "troth", "-n", NAMESPACE, "-o", "yaml")
    assert "--workers=8" in shown
    rolled_out(installed)


@pytest.mark.long
def test_release_that_is_installed_again_adopts_what_the_first_left(installed: Sandbox) -> None:
    before = leaf(installed), policies(installed)
    installed.helm("uninstall", "troth", "-n", NAMESPACE, "--wait")
    assert (leaf(installed), policies(installed)) == before, "services keep working"
    assert "production" in installed.kubectl("get", "trustdomains", "-o", "name")
    left = installed.kubectl("get", "leases", "-n", NAMESPACE, "-o", "name")
    assert left == "", "the next operator waits for nobody"
    helm(installed, "install")
    assert (leaf(installed), policies(installed)) == before


@pytest.mark.long
def test_drained_node_keeps_one_operator(installed: Sandbox) -> None:
    """Eviction respects the PodDisruptionBudget, as `kubectl drain` does."""
    names = [
        name
        for name, pod in pods(installed, NAMESPACE).items()
        if pod["metadata"]["labels"].get("troth.dev/component") == "operator"
        and "deletionTimestamp" not in pod["metadata"]
    ]
    answers = [_evicted(installed, name) for name in names]
    assert answers == [True, False]
    rolled_out(installed)


def _evicted(sandbox: Sandbox, name: str) -> bool:
    """Evict a pod; return whether its PodDisruptionBudget allows it."""
    metadata = {"name": name, "namespace": NAMESPACE}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    try:
        sandbox.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    except CommandError as error:
        assert "disruption budget" in str(error)  # noqa: PT017 - the reason, not the exception
        return False
    return True


# Failures


@contextmanager
def calling(services: Pods) -> Iterator[None]:
    """Have checkout call payments meanwhile; every call must succeed."""
    call = Call(CHECKOUT, PAYMENTS, "https", "by both sides", scope="payments.charge")
    caller = services.workload(CHECKOUT)
    caller.storm([services.target(call)], rate=10, timeout=PATIENCE)
    try:
        yield
    finally:
        tally = caller.calm()
    assert tally.failed == 0, tally.failures
    assert tally.answered.total() > 0


@pytest.mark.parametrize("crds", [True, False], ids=["a new CRD", "the pods"])
@pytest.mark.long
def test_upgrade_to_an_image_that_cannot_be_pulled_harms_nothing_and_is_rolled_back(
    installed: Sandbox, services: Pods, crds: bool
) -> None:
    before = running(installed), leaf(installed), policies(installed)
    absent = {"repository": "registry.invalid/troth", "tag": "absent"}
    with calling(services):
        with pytest.raises(CommandError, match="UPGRADE FAILED") as failed:
            upgrade(installed, "10s", image=absent, crds={"upgrade": crds})
        assert ("pre-upgrade hooks failed" in failed.value.stderr) == crds
        warnings = ("get", "events", "-n", NAMESPACE, "--field-selector", "type=Warning")
        assert 'Failed to pull image "registry.invalid/troth:absent"' in installed.kubectl(
            *warnings
        )
        assert before[0] <= running(installed)
        deployed = [each for each in revisions(installed) if each["status"] == "deployed"][-1]
        waiting = "--wait", "--timeout", PATIENCE_OF_HELM
        installed.helm("rollback", "troth", str(deployed["revision"]), "-n", NAMESPACE, *waiting)
        rolled_out(installed)
    assert (running(installed), leaf(installed), policies(installed)) == before
    assert "troth-crds" not in installed.kubectl("get", "clusterroles,serviceaccounts", "-A")


@pytest.mark.long
def test_release_whose_namespace_is_deleted_is_adopted_once_its_secrets_are_restored(
    installed: Sandbox, services: Pods
) -> None:
    before = leaf(installed), policies(installed)
    saved = backup(installed)
    with calling(services):
        installed.kubectl("delete", "namespace", NAMESPACE)
        assert (leaf(installed), policies(installed)) == before
        apply(installed, namespace(NAMESPACE, **RESTRICTED))
        install(installed)
        reason = 'jsonpath={.status.conditions[?(@.type=="Ready")].reason}'
        domain = ("get", "trustdomain", "production", "-o", reason)
        until(lambda: installed.kubectl(*domain) == "AuthorityMissing")
        assert (leaf(installed), policies(installed)) == before
        apply(installed, *saved)
        rolled_out(installed)
        Cluster(installed).settled(Shop.read(), lambda _part, _whole: None)
    assert (leaf(installed), policies(installed)) == before
