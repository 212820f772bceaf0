"""The webhook gateway on a real API server: its RBAC, its watch, its reports and its outages."""

import base64
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.faults import FaultyPath
from sandbox.processes import Tether
from tests.cluster.gateway import Process
from tests.cluster.person import Manifest, until
from tests.cluster.stage import Stage
from tests.patience import PATIENCE
from tests.pki import builders as pki
from tests.webhooks.gateway.attacks import scene
from tests.webhooks.gateway.attacks.scene import secret_data
from tests.webhooks.gateway.attacks.wire import send_parts
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.pki.keys.private import private_key_pem
from troth.resources.references import Ref
from troth.webhooks.gateway.reporting import Reporter
from troth.webhooks.gateway.routes import Routes, served

GATEWAY = "troth-gateway"
LABEL = "troth.dev/webhook-gateway"


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    with Tether(tmp_path / "processes") as tied:
        tied.directory.mkdir()
        yield tied


@dataclass
class Setting:
    """A gateway's namespace, in which the test writes in place of the operator."""

    stage: Stage
    namespace: str
    kubeconfig: Path
    """The gateway's kubeconfig, for the ServiceAccount that the chart made."""

    async def write(self, name: str, data: dict[str, bytes], labelled: str = GATEWAY) -> None:
        """Write a compiled Secret."""
        labels = {LABEL: labelled, "app.kubernetes.io/managed-by": "troth"}
        metadata = {"name": name, "namespace": self.namespace, "labels": labels}
        coded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": coded}
        await self.stage.person.put(manifest)

    async def write_key(self) -> None:
        key = private_key_pem(pki.key(which="gateway"))
        await self.write(f"{GATEWAY}-webhook-signing", {"key.pem": key})


async def installed(stage: Stage) -> Setting:
    """Install a gateway from the chart."""
    namespace = f"{stage.name}-gateway"
    options = ("enabled=true", "replicas=1", f"namespace={namespace}")
    await stage.install(*(f"gateway.{option}" for option in options))
    kubeconfig = await stage.kubeconfig_of(Ref(namespace, GATEWAY))
    return Setting(stage, namespace, kubeconfig)


@pytest.fixture
async def setting(stage: Stage) -> Setting:
    return await installed(stage)


class Gateway(Process):
    """A gateway that serves the endpoints that a test has written."""

    def __init__(self, tether: Tether, setting: Setting, kubeconfig: Path) -> None:
        nothing = tether.directory / "nothing"
        super().__init__(
            tether,
            "gateway",
            kubeconfig,
            *(f"--namespace={setting.namespace}", f"--identity-name={GATEWAY}"),
            *(f"--identity={nothing}", f"--bundle={nothing}", "--single-replica"),
            "--log-format=json",
        )

    async def answers(self, status: int, name: str = "orders") -> None:
        """Wait until a delivery to an endpoint, with the original signature, gets a status code."""
        line = f"POST /shop/{name} HTTP/1.1".encode()

        async def look() -> int:
            return (await send_parts(self.port, scene.delivery(line))).status

        await until(look, lambda found: found == status)


VERIFIED, UNVERIFIED, UNKNOWN = 503, 401, 404
"""Status codes. A verified delivery gets 503, because these endpoints have no target."""


def compiled(name: str = "orders", **changed: str) -> dict[str, bytes]:
    """Return the data of an endpoint that verifies deliveries but has no target."""
    data = secret_data(name, target=None, suspended="the edge is not live")
    return data | {key: text.encode() for key, text in changed.items()}


def kubectl(kubeconfig: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["kubectl", f"--kubeconfig={kubeconfig}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return done.stdout


async def test_gateway_can_only_read_secrets_there_and_write_one_config_map(
    setting: Setting,
) -> None:
    mine = kubectl(setting.kubeconfig, "auth", "can-i", "--list", "-n", setting.namespace)
    lines = [line.split() for line in mine.splitlines()[1:]]
    # every ServiceAccount may review itself and discover the API
    rights = [
        line
        for line in lines
        if not line[0].startswith(("selfsubject", "[/"))
        and not line[0].endswith((".authorization.k8s.io", "selfsubjectreviews"))
    ]
    assert sorted(rights) == [
        ["configmaps", "[]", "[]", "[create]"],
        ["configmaps", "[]", f"[{GATEWAY}-webhook-keys]", "[patch]"],
        ["secrets", "[]", "[]", "[get", "list", "watch]"],
    ]
    for other in (setting.stage.own, "kube-system"):
        assert "no" in kubectl(setting.kubeconfig, "auth", "can-i", "get", "secrets", "-n", other)


async def test_gateway_applies_each_compiled_endpoint_independently(
    setting: Setting, tether: Tether
) -> None:
    await setting.write("shop.orders", compiled())
    gateway = Gateway(tether, setting, setting.kubeconfig)
    await gateway.unready()
    await setting.write_key()
    await gateway.ready()
    await gateway.answers(VERIFIED)
    await setting.write("shop.broken", {"endpoint.json": b"{}"})
    await setting.write("shop.others", compiled("others"), labelled="another")
    await setting.write("shop.refunds", compiled("refunds"))
    await gateway.answers(VERIFIED, "refunds")
    for name in ("broken", "others"):
        await gateway.answers(UNKNOWN, name)
    await setting.write("shop.orders", {**compiled(), "key.k1": b"whsec_" + b"QUFB" * 8})
    await gateway.answers(UNVERIFIED)
    await setting.stage.person.delete("Secret", Ref(setting.namespace, "shop.orders"))
    await gateway.answers(UNKNOWN)
    await gateway.answers(VERIFIED, "refunds")


@pytest.mark.long
async def test_gateway_notices_changes_that_a_dead_watch_does_not_report(
    setting: Setting, tether: Tether, tmp_path: Path
) -> None:
    await setting.write("shop.orders", compiled())
    await setting.write("shop.refunds", compiled("refunds"))
    await setting.write_key()
    async with FaultyPath(setting.kubeconfig, tmp_path / "path") as path:
        gateway = Gateway(tether, setting, path.kubeconfig)
        await gateway.ready()
        path.muted.add("secrets")
        await setting.write("shop.orders", {**compiled(), "key.k1": b"whsec_" + b"QUFB" * 8})
        await setting.stage.person.delete("Secret", Ref(setting.namespace, "shop.refunds"))
        await gateway.answers(UNVERIFIED)
        await gateway.answers(UNKNOWN, "refunds")


async def test_gateway_works_while_the_api_server_is_down(
    setting: Setting, tether: Tether, tmp_path: Path
) -> None:
    await setting.write("shop.orders", compiled())
    await setting.write_key()
    async with FaultyPath(setting.kubeconfig, tmp_path / "path") as path:
        gateway = Gateway(tether, setting, path.kubeconfig)
        await gateway.ready()
    await gateway.answers(VERIFIED)
    await until(lambda: _is_logged(gateway, "watch failed"), bool)
    await gateway.answers(VERIFIED)
    await gateway.ready()


async def _is_logged(gateway: Gateway, event: str) -> bool:
    return f'"event":"{event}"' in gateway.output


async def test_two_replicas_report_in_one_config_map(setting: Setting) -> None:
    routes, now = Routes(), [1_800_000_000.0]
    routes.put("shop.orders", served(compiled(**{"key.k2": "whsec_" + "QUFB" * 8})))
    reporters = [
        Reporter(setting.namespace, GATEWAY, routes, set(), lambda: now[0]) for _ in range(2)
    ]
    config = await configuration(str(setting.kubeconfig))
    async with ApiServer(config) as server:
        for reporter, key in zip(reporters, ("k1", "k2"), strict=True):
            reporter.used("shop/orders", key)
            await reporter.report(server)
        found = await _report(setting)
        assert found["data"] == {
            "shop.orders": '{"k1": "2027-01-15T08:00:00Z", "k2": "2027-01-15T08:00:00Z"}'
        }
        assert found["metadata"]["labels"] == {"troth.dev/webhook-report": GATEWAY}
        before = found["metadata"]["resourceVersion"]
        now[0] += 700
        reporters[0].used("shop/orders", "k1")
        await reporters[0].report(server)  # detects that the other has written since
        assert (await _report(setting))["metadata"]["resourceVersion"] == before
        await reporters[0].report(server)
        assert "08:11:40" in (await _report(setting))["data"]["shop.orders"]
        routes.put("shop.orders", None)
        for _ in range(2):
            await reporters[0].report(server)
        assert not (await _report(setting)).get("data")


async def _report(setting: Setting) -> Manifest:
    ref = Ref(setting.namespace, f"{GATEWAY}-webhook-keys")
    return await setting.stage.person.the("ConfigMap", ref)
