"""The operator's image, run by a kubelet as the chart declares it, and the life of a release."""

import base64
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest
import yaml
from cryptography import x509

from sandbox import CommandError, Sandbox, Tier, image
from tests.chart.rendering import CHART, GATEWAY_NAMESPACE, NAMESPACE, REPOSITORY
from tests.patience import PATIENCE
from tests.sandbox.nodes import apply, is_ready, namespace, pods, skip_without

SHOP = REPOSITORY / "examples" / "shop"
DOMAINS = yaml.safe_load_all((SHOP / "10-trust-domains.yaml").read_text())
DOMAIN = next(each for each in DOMAINS if each["metadata"]["name"] == "production")
PRODUCTION = {"troth.dev/environment": "production"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
REPOSITORY_NAME, _, TAG = image.NAME.partition(":")
VALUES = {
    "image": {"repository": REPOSITORY_NAME, "tag": TAG, "pullPolicy": "Never"},
    "trustDomains": [{"name": "production", "spec": DOMAIN["spec"]}],
    "issuers": [{"domain": "production"}],
    "gateway": {
        "enabled": True,
        "replicas": 1,
        "namespaceLabels": PRODUCTION,
        "identity": {"create": True, "allowedNamespaces": {"matchLabels": PRODUCTION}},
    },
}
PATIENCE_OF_HELM = "300s"
DEPLOYMENTS = (
    (NAMESPACE, "troth", 2),
    (NAMESPACE, "troth-issuer-production", 2),
    (GATEWAY_NAMESPACE, "troth-gateway", 1),
)

pytestmark = pytest.mark.timeout(900)  # the first run builds the image


@pytest.fixture(scope="module")
def installed() -> Iterator[Sandbox]:
    """Yield a node with the chart, installed in one step, and the example shop."""
    if reason := image.unavailable():
        pytest.skip(reason)
    skip_without(Tier.NODE)
    archive = image.ensure()
    with Sandbox.start(tier=Tier.NODE) as sandbox:
        sandbox.node.load_image(archive)
        apply(sandbox, namespace(NAMESPACE, **RESTRICTED))
        _helm(sandbox, "install", VALUES)
        sandbox.kubectl("apply", "-f", str(SHOP))
        yield sandbox


def _helm(sandbox: Sandbox, command: str, values: dict[str, Any]) -> None:
    """Install or upgrade the release; return once all its pods are ready."""
    waiting = "--wait", "--timeout", PATIENCE_OF_HELM
    arguments = (command, "troth", str(CHART), "-n", NAMESPACE, *waiting, "--values", "-")
    try:
        sandbox.helm(*arguments, stdin=yaml.safe_dump(values))
    except CommandError as error:
        told = [
            sandbox.kubectl(what, *which, "-n", space)
            for space in (NAMESPACE, GATEWAY_NAMESPACE)
            for what, *which in (("describe", "pods"), ("get", "events"))
        ]
        pytest.fail("\n".join((str(error), *told)))
    _rolled_out(sandbox)


def _rolled_out(sandbox: Sandbox) -> None:
    """Wait for all pods; Helm waits only for as many as an update keeps available."""
    for space, name, _ in DEPLOYMENTS:
        patience = f"--timeout={PATIENCE_OF_HELM}"
        sandbox.kubectl("rollout", "status", "-n", space, f"deployment/{name}", patience)


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


# The life of a release


def test_helm_test_passes(installed: Sandbox) -> None:
    told = installed.helm("test", "troth", "-n", NAMESPACE, "--logs")
    assert "the API server serves 6 kinds of troth.dev" in told
    assert "leads" in told


def test_another_replica_leads_after_the_leader_is_deleted(installed: Sandbox) -> None:
    before = _leader(installed)
    installed.kubectl("delete", "pod", before, "-n", NAMESPACE, "--wait=false")
    _until(lambda: _leader(installed) not in ("", before))
    _rolled_out(installed)
    logs = installed.kubectl("logs", "-n", NAMESPACE, _leader(installed))
    assert '"event":"leading"' in logs


def test_upgrade_adds_a_field_to_a_crd_while_the_operator_runs(installed: Sandbox) -> None:
    schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/isolation"
    older = json.dumps([{"op": "remove", "path": schema}])
    crd = "trustdomains.troth.dev"
    installed.kubectl("patch", "crd", crd, "--type=json", "-p", older)
    leaf = _leaf(installed)
    _helm(installed, "upgrade", VALUES)
    assert "isolation" in installed.kubectl("get", "crd", crd, "-o", "yaml")
    assert _leaf(installed) == leaf, "nothing was reissued"
    assert "troth-crds" not in installed.kubectl("get", "clusterroles,sa,jobs", "-A", "-o", "name")


def test_rollback_returns_to_the_values_before(installed: Sandbox) -> None:
    _helm(installed, "upgrade", {**VALUES, "log": {"level": "debug"}})
    revision = json.loads(installed.helm("history", "troth", "-n", NAMESPACE, "-o", "json"))[-2]
    waiting = "--wait", "--timeout", PATIENCE_OF_HELM
    installed.helm("rollback", "troth", str(revision["revision"]), "-n", NAMESPACE, *waiting)
    shown = installed.kubectl("get", "deployment", "troth", "-n", NAMESPACE, "-o", "yaml")
    assert "--log-level=info" in shown
    _rolled_out(installed)


def test_release_that_is_installed_again_adopts_what_the_first_left(installed: Sandbox) -> None:
    leaf, policies = _leaf(installed), _policies(installed)
    installed.helm("uninstall", "troth", "-n", NAMESPACE, "--wait")
    assert (_leaf(installed), _policies(installed)) == (leaf, policies), "services keep working"
    assert "production" in installed.kubectl("get", "trustdomains", "-o", "name")
    left = installed.kubectl("get", "leases", "-n", NAMESPACE, "-o", "name")
    assert left == "", "the next operator waits for nobody"
    _helm(installed, "install", VALUES)
    assert (_leaf(installed), _policies(installed)) == (leaf, policies)


def test_drained_node_keeps_one_operator(installed: Sandbox) -> None:
    """Eviction respects the PodDisruptionBudget, as `kubectl drain` does."""
    names = [
        name
        for name, pod in pods(installed, NAMESPACE).items()
        if name.rsplit("-", 2)[0] == "troth" and "deletionTimestamp" not in pod["metadata"]
    ]
    answers = [_evicted(installed, name) for name in names]
    assert answers == [True, False]
    _rolled_out(installed)


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


def _leader(sandbox: Sandbox) -> str:
    """Return the name of the pod that holds the Lease, empty if none does."""
    path = "jsonpath={.spec.holderIdentity}"
    holder = sandbox.kubectl("get", "lease", "troth-operator", "-n", NAMESPACE, "-o", path)
    return holder.partition("_")[0]


def _leaf(sandbox: Sandbox) -> str:
    path = "jsonpath={.data.tls\\.crt}"
    return sandbox.kubectl("get", "secret", "checkout-identity", "-n", "shop", "-o", path)


def _policies(sandbox: Sandbox) -> str:
    path = "jsonpath={range .items[*]}{.metadata.uid} {.spec}{end}"
    return sandbox.kubectl("get", "networkpolicies", "-n", "shop", "-o", path)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
