"""The demo on a cluster that ends with it."""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sandbox import tools
from sandbox.cluster import Sandbox
from sandbox.demo import installation
from sandbox.demo.acts import show_acts
from sandbox.demo.cluster import Cluster
from sandbox.demo.installation import CHART, SETTINGS
from sandbox.demo.programs import LEASE, NAME, NAMESPACE, run_operator
from sandbox.demo.reviews.worker import REVIEWER
from sandbox.demo.screen import Screen
from sandbox.demo.setting import CLUSTERS, ENVTEST, Setting
from sandbox.demo.tokens.services import ISSUER
from sandbox.demo.webhooks.example import GATEWAY
from sandbox.node import starting
from sandbox.processes import Tether


def play(screen: Screen, setting: Setting) -> bool:
    """Play on a cluster that ends with the demo; return whether all trials are right."""
    prepare(setting)
    began = time.monotonic()
    with ExitStack() as stack:
        tether = stack.enter_context(Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))))
        with screen.step("cluster") as say:
            started = Sandbox.start(tier=setting.tier, controllers=not setting.envtest)
            cluster = Cluster(stack.enter_context(started))
            say(describe(cluster, setting))
        kubeconfig = install(screen, cluster, setting)
        crash = operate(screen, tether, kubeconfig)
        good = show_acts(screen, cluster, tether, setting, crash)
    keep = "" if setting.envtest else "; [bold]make demo KEEP=1[/] keeps it"
    return conclude(screen, began, f"The cluster is removed{keep}.", good=good)


def operate(screen: Screen, tether: Tether, kubeconfig: Path) -> Callable[[], None]:
    """Start the operator; return a function that kills it and starts another."""
    log = tether.directory / "operator.log"
    with screen.step("operator") as say:
        run_operator(tether, kubeconfig, log, lease=LEASE)
        say(RUNS_AS)

    def crash() -> None:
        tether.stop(NAME, grace=0)
        run_operator(tether, kubeconfig, log, lease=LEASE)

    return crash


def conclude(screen: Screen, began: float, afterwards: str, *, good: bool) -> bool:
    """Say how the trials ended, and what is left; return `good`."""
    if good:
        seconds = f"{time.monotonic() - began:.0f} s"
        screen.say(f"\n[bold green]All trials ended as expected[/], in {seconds}. {afterwards}")
    else:
        screen.say("\n[bold red]Not all trials ended as expected[/]; see the rows marked WRONG.")
    return good


RUNS_AS = f"`troth run` with the rights of ServiceAccount {NAMESPACE}/{NAME}"


def prepare(setting: Setting) -> None:
    """Build what is missing; raises `SandboxError` if this machine cannot run it."""
    for program in ENVTEST if setting.envtest else tools.CLUSTER:
        tools.ensure(program)
    starting.prepare(setting.tier)
    if setting.uses_broker:
        setting.broker.prepare()


def describe(cluster: Cluster, setting: Setting) -> str:
    """Return the version and kind of the cluster."""
    found = json.loads(cluster.sandbox.kubectl("version", "-o", "json"))
    envtest = "etcd and API server of KUBEBUILDER_ASSETS"
    kind = envtest if setting.envtest else CLUSTERS[setting.tier]
    return f"Kubernetes {found['serverVersion']['gitVersion']}: {kind}"


def install(screen: Screen, cluster: Cluster, setting: Setting) -> Path:
    """Install the chart; return the kubeconfig of the operator's ServiceAccount."""
    with screen.step("chart") as say:
        if setting.envtest:
            crds = installation.crds()
            installation.apply(cluster.sandbox, *crds)
            say(installation.words(len(crds)))
            return cluster.sandbox.service_account_kubeconfig(NAMESPACE, NAME)
        settings = [part for each in SETTINGS for part in ("--set", each)]
        cluster.sandbox.helm(
            *("install", NAME, str(CHART), "--namespace", NAMESPACE, "--create-namespace"),
            *settings,
        )
        # there is no image here: the demo runs one process of each program
        for namespace, *names in ((NAMESPACE, NAME, ISSUER, REVIEWER.name), GATEWAY):
            deployments = [f"deployment/{name}" for name in names]
            cluster.sandbox.kubectl("scale", *deployments, "--replicas=0", "-n", namespace)
        say(f"helm install {NAME} charts/troth, with an issuer, a gateway and a worker")
    return cluster.sandbox.service_account_kubeconfig(NAMESPACE, NAME)
