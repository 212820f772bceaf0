"""The demo's acts, in order."""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sandbox import tools
from sandbox.cluster import Sandbox
from sandbox.demo.acts import perform
from sandbox.demo.choosing import CLUSTERS, Setting
from sandbox.demo.cluster import Cluster
from sandbox.demo.issuing import DOMAIN, ISSUER
from sandbox.demo.operating import LEASE, NAME, NAMESPACE, run_operator
from sandbox.demo.screen import Screen
from sandbox.demo.webhook_stage import GATEWAY, STORE
from sandbox.node import starting
from sandbox.node.tiers import Tier
from sandbox.processes import Tether

CHART = Path(__file__).parents[2] / "charts" / "troth"
SETTINGS = (
    f"issuers[0].domain={DOMAIN}",
    "gateway.enabled=true",
    f"gateway.valkey.secretName={STORE}",
    rf"gateway.namespaceLabels.troth\.dev/environment={DOMAIN}",
)


def play(screen: Screen, setting: Setting) -> bool:
    """Play on a cluster that ends with the demo; return whether all was as declared."""
    prepare(setting)
    began = time.monotonic()
    with ExitStack() as stack:
        tether = stack.enter_context(Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))))
        with screen.step("cluster") as say:
            cluster = Cluster(stack.enter_context(Sandbox.start(tier=setting.tier)))
            say(described(cluster, setting.tier))
        kubeconfig = install(screen, cluster)
        with screen.step("operator") as say:
            log = tether.directory / "operator.log"
            run_operator(tether, kubeconfig, log, lease=LEASE)
            say(RUNS_AS)

        def crash() -> None:
            tether.stop(NAME, grace=0)
            run_operator(tether, kubeconfig, log, lease=LEASE)

        good = perform(screen, cluster, tether, setting, crash)
    if good:
        seconds = f"{time.monotonic() - began:.0f} s"
        screen.say(
            f"\n[bold green]Everything is as declared[/], shown in {seconds}. Nothing is left "
            "behind; [bold]make demo KEEP=1[/] keeps it up."
        )
    else:
        screen.say("\n[bold red]Not everything is as declared[/]; what is not is marked WRONG.")
    return good


RUNS_AS = f"`troth run` as ServiceAccount {NAMESPACE}/{NAME}, with no more rights"


def prepare(setting: Setting) -> None:
    """Build what is missing; raises `SandboxError` if this machine cannot have it."""
    for program in tools.CLUSTER:
        tools.ensure(program)
    starting.prepare(setting.tier)
    setting.broker.prepare()


def described(cluster: Cluster, tier: Tier) -> str:
    """Return what the cluster is."""
    found = json.loads(cluster.sandbox.kubectl("version", "-o", "json"))
    return f"Kubernetes {found['serverVersion']['gitVersion']}: {CLUSTERS[tier]}"


def install(screen: Screen, cluster: Cluster) -> Path:
    """Install the chart; return the kubeconfig of the operator's own ServiceAccount."""
    with screen.step("chart") as say:
        settings = [part for each in SETTINGS for part in ("--set", each)]
        cluster.sandbox.helm(
            *("install", NAME, str(CHART), "--namespace", NAMESPACE, "--create-namespace"),
            *settings,
        )
        # there is no image of it here: the demo runs one copy of each, and no pods wait for one
        for namespace, *names in ((NAMESPACE, NAME, ISSUER), GATEWAY):
            deployments = [f"deployment/{name}" for name in names]
            cluster.sandbox.kubectl("scale", *deployments, "--replicas=0", "-n", namespace)
        say(f"helm install {NAME} charts/troth, with an issuer and a gateway")
    return cluster.sandbox.service_account_kubeconfig(NAMESPACE, NAME)
