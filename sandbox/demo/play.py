"""The demo on a cluster that ends with it."""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sandbox import tools
from sandbox.cluster import Sandbox
from sandbox.demo.acts import show_acts
from sandbox.demo.cluster import Cluster
from sandbox.demo.programs import LEASE, NAME, NAMESPACE, run_operator
from sandbox.demo.screen import Screen
from sandbox.demo.setting import CLUSTERS, Act, Setting
from sandbox.demo.tokens.services import DOMAIN, ISSUER
from sandbox.demo.webhooks.example import GATEWAY, STORE
from sandbox.node import starting
from sandbox.node.tiers import Tier
from sandbox.processes import Tether

CHART = Path(__file__).parents[2] / "charts" / "troth"
SETTINGS = (
    f"issuers[0].domain={DOMAIN}",
    "gateway.enabled=true",
    f"gateway.valkey.secretName={STORE}",
    # it edits a NetworkPolicy of Troth by hand, which the chart's admission policy denies to others
    "admissionPolicy.exemptUsers={troth-sandbox-administrator}",
    rf"gateway.namespaceLabels.troth\.dev/environment={DOMAIN}",
)


def play(screen: Screen, setting: Setting) -> bool:
    """Play on a cluster that ends with the demo; return whether all trials are right."""
    prepare(setting)
    began = time.monotonic()
    with ExitStack() as stack:
        tether = stack.enter_context(Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))))
        with screen.step("cluster") as say:
            cluster = Cluster(stack.enter_context(Sandbox.start(tier=setting.tier)))
            say(describe(cluster, setting.tier))
        kubeconfig = install(screen, cluster)
        with screen.step("operator") as say:
            log = tether.directory / "operator.log"
            run_operator(tether, kubeconfig, log, lease=LEASE)
            say(RUNS_AS)

        def crash() -> None:
            tether.stop(NAME, grace=0)
            run_operator(tether, kubeconfig, log, lease=LEASE)

        good = show_acts(screen, cluster, tether, setting, crash)
    if good:
        seconds = f"{time.monotonic() - began:.0f} s"
        screen.say(
            f"\n[bold green]All trials ended as expected[/], in {seconds}. The cluster is removed; "
            "[bold]make demo KEEP=1[/] keeps it."
        )
    else:
        screen.say("\n[bold red]Not all trials ended as expected[/]; see the rows marked WRONG.")
    return good


RUNS_AS = f"`troth run` with the rights of ServiceAccount {NAMESPACE}/{NAME}"


def prepare(setting: Setting) -> None:
    """Build what is missing; raises `SandboxError` if this machine cannot run it."""
    for program in tools.CLUSTER:
        tools.ensure(program)
    starting.prepare(setting.tier)
    if Act.MESSAGES in setting.acts:
        setting.broker.prepare()


def describe(cluster: Cluster, tier: Tier) -> str:
    """Return the version and kind of the cluster."""
    found = json.loads(cluster.sandbox.kubectl("version", "-o", "json"))
    return f"Kubernetes {found['serverVersion']['gitVersion']}: {CLUSTERS[tier]}"


def install(screen: Screen, cluster: Cluster) -> Path:
    """Install the chart; return the kubeconfig of the operator's ServiceAccount."""
    with screen.step("chart") as say:
        settings = [part for each in SETTINGS for part in ("--set", each)]
        cluster.sandbox.helm(
            *("install", NAME, str(CHART), "--namespace", NAMESPACE, "--create-namespace"),
            *settings,
        )
        # there is no image here: the demo runs one process of each program
        for namespace, *names in ((NAMESPACE, NAME, ISSUER), GATEWAY):
            deployments = [f"deployment/{name}" for name in names]
            cluster.sandbox.kubectl("scale", *deployments, "--replicas=0", "-n", namespace)
        say(f"helm install {NAME} charts/troth, with an issuer and a gateway")
    return cluster.sandbox.service_account_kubeconfig(NAMESPACE, NAME)
