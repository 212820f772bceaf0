"""The operator's image, run by a kubelet as the chart declares it."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cryptography import x509

from sandbox import CommandError, Sandbox, Tier, image
from tests.chart.rendering import CHART, GATEWAY_NAMESPACE, NAMESPACE, REPOSITORY
from tests.patience import PATIENCE
from tests.sandbox.nodes import apply, is_ready, namespace, pods, skip_without

SHOP = REPOSITORY / "examples" / "shop"
PRODUCTION = {"troth.dev/environment": "production"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
REPOSITORY_NAME, _, TAG = image.NAME.partition(":")
VALUES = {
    "image": {"repository": REPOSITORY_NAME, "tag": TAG, "pullPolicy": "Never"},
    "issuers": [{"domain": "production"}],
    "gateway": {"enabled": True, "replicas": 1, "namespaceLabels": PRODUCTION | RESTRICTED},
}
# Set only in an upgrade, because the chart's installation creates the CRD.
GATEWAY_IDENTITY = {
    "gateway": {"identity": {"create": True, "allowedNamespaces": {"matchLabels": PRODUCTION}}}
}
DEPLOYMENTS = (
    (NAMESPACE, "troth", 2),
    (NAMESPACE, "troth-issuer-production", 2),
    (GATEWAY_NAMESPACE, "troth-gateway", 1),
)

pytestmark = pytest.mark.timeout(900)  # the first run builds the image


@pytest.fixture(scope="module")
def installed() -> Iterator[Sandbox]:
    """Yield a node that runs the chart's pods, with the example shop declared."""
    if reason := image.unavailable():
        pytest.skip(reason)
    skip_without(Tier.NODE)
    archive = image.ensure()
    with Sandbox.start(tier=Tier.NODE) as sandbox:
        sandbox.node.load_image(archive)
        apply(sandbox, namespace(NAMESPACE, **RESTRICTED))
        _helm(sandbox, "install", VALUES)
        kinds = ("crd", "-l", "app.kubernetes.io/name=troth", f"--timeout={PATIENCE:.0f}s")
        sandbox.kubectl("wait", "--for=condition=Established", *kinds)
        sandbox.kubectl("apply", "-f", str(SHOP))
        _helm(sandbox, "upgrade", GATEWAY_IDENTITY, "--reuse-values")
        yield sandbox


@pytest.fixture(scope="module")
def ready(installed: Sandbox) -> Sandbox:
    """Return the same sandbox once every Deployment of the chart is rolled out."""
    for space, name, _ in DEPLOYMENTS:
        try:
            installed.kubectl(
                "rollout", "status", "-n", space, f"deployment/{name}", "--timeout=180s"
            )
        except CommandError as error:
            told = installed.kubectl("describe", "pods", "-n", space)
            pytest.fail(f"{error}\n{told}\n{_logs(installed, space, name)}")
    return installed


def _helm(sandbox: Sandbox, command: str, values: dict[str, Any], *options: str) -> None:
    arguments = (command, "troth", str(CHART), "-n", NAMESPACE, *options, "--values", "-")
    sandbox.helm(*arguments, stdin=yaml.safe_dump(values))


def _logs(sandbox: Sandbox, space: str, deployment: str) -> str:
    try:
        return sandbox.kubectl("logs", "-n", space, f"deployment/{deployment}", "--tail=30")
    except CommandError as error:  # its container never started
        return str(error)


def test_all_deployments_become_ready_without_a_restart(ready: Sandbox) -> None:
    for space, deployment, copies in DEPLOYMENTS:
        found = {
            name: pod
            for name, pod in pods(ready, space).items()
            if name.rsplit("-", 2)[0] == deployment
        }
        assert len(found) == copies
        for name, pod in found.items():
            assert is_ready(pod), name
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, name


def test_operator_issues_an_identity(ready: Sandbox) -> None:
    ready.kubectl(
        *("wait", "-n", "shop", "--for=condition=Ready", "serviceidentity/checkout"),
        "--timeout=180s",
    )
    asked = ("get", "secret", "checkout-identity", "-n", "shop", "-o", "json")
    data = json.loads(ready.kubectl(*asked))["data"]
    leaf = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://prod.shop.example/ns/shop/sa/checkout"
    ]


def test_image_has_no_package_installer(ready: Sandbox) -> None:
    look = "from importlib.util import find_spec; print(find_spec('pip'), find_spec('setuptools'))"
    asked = ("exec", "-n", NAMESPACE, "deployment/troth", "--", "python", "-c", look)
    assert ready.kubectl(*asked).strip() == "None None"
