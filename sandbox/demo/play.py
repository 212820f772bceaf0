"""The demo's acts, in order."""

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from sandbox import tools
from sandbox.cluster import Sandbox
from sandbox.demo.cluster import Cluster, Standing
from sandbox.demo.errors import DemoError
from sandbox.demo.operating import NAME, NAMESPACE, run_operator
from sandbox.demo.policies import summaries
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Declared, Place, Shop
from sandbox.demo.stolen import expired_certificate
from sandbox.demo.tampering import tamper
from sandbox.demo.trials import CHECKOUT, PAYMENTS, Result, Trials
from sandbox.demo.workloads import Workloads
from sandbox.processes import Tether

CHART = Path(__file__).parents[2] / "charts" / "troth"
AUTHORITY = Place(NAMESPACE, "production-authority")


def play(screen: Screen) -> bool:
    """Play on a cluster that ends with the demo; return whether all was as declared."""
    began = prepare(screen)
    with ExitStack() as stack:
        tether = stack.enter_context(Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))))
        with screen.step("control plane") as say:
            cluster = Cluster(stack.enter_context(Sandbox.start()))
            say(version(cluster))
        kubeconfig = install(screen, cluster)
        with screen.step("operator") as say:
            run_operator(tether, kubeconfig, tether.directory / "operator.log")
            say(RUNS_AS)
        good = perform(screen, cluster, tether)
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


def prepare(screen: Screen) -> float:
    """Open the demo, build what is missing, and return when the clock began."""
    screen.title("Troth: what is declared works, and what is not declared fails")
    for program in tools.CLUSTER:
        tools.ensure(program)
    return time.monotonic()


def version(cluster: Cluster) -> str:
    """Return what the cluster is."""
    found = json.loads(cluster.sandbox.kubectl("version", "-o", "json"))
    release = found["serverVersion"]["gitVersion"]
    return f"Kubernetes {release}: etcd, API server, controllers, on loopback alone"


def install(screen: Screen, cluster: Cluster) -> Path:
    """Install the chart; return the kubeconfig of the operator's own ServiceAccount."""
    with screen.step("chart") as say:
        cluster.sandbox.helm(
            *("install", NAME, str(CHART), "--namespace", NAMESPACE, "--create-namespace")
        )
        # there is no node here: the demo runs the one copy itself, and no pods wait for a node
        cluster.sandbox.kubectl("scale", f"deployment/{NAME}", "--replicas=0", "-n", NAMESPACE)
        say(f"helm install {NAME} charts/troth --namespace {NAMESPACE}")
    return cluster.sandbox.service_account_kubeconfig(NAMESPACE, NAME)


def perform(screen: Screen, cluster: Cluster, tether: Tether) -> bool:
    """Apply the shop and prove it; return whether all was as declared."""
    shop = Shop.read()
    with screen.step("shop") as say:
        cluster.sandbox.kubectl("apply", "-f", "-", stdin=shop.text())
        say(f"kubectl apply -f examples/shop: {len(shop.manifests)} objects")
    with screen.progress("identities") as (progress, say):
        standing = cluster.settled(shop, progress)
        say(
            f"{len(standing.resources)} resources ready: keys, certificates, bundles, "
            "NetworkPolicies"
        )
    workloads = Workloads(tether, shop)
    with screen.step("services") as say:
        workloads.start(cluster.secrets())
        say("local processes that know the files of their Secrets and nothing else")
    results = _try(screen, cluster, Trials(shop, standing, workloads), standing, tether)
    _show_policies(screen, cluster, shop)
    _show_waiting(screen, shop, standing)
    screen.title("Edited by hand, and put right")
    screen.repair(tamper(cluster, PAYMENTS))
    return not any(result.unexpected for result in results)


def _try(
    screen: Screen, cluster: Cluster, trials: Trials, standing: Standing, tether: Tether
) -> list[Result]:
    screen.title("Let in: tried over real sockets, with the files that were issued")
    permitted = list(trials.permitted())
    screen.results(permitted)
    expired = expired_certificate(
        tether.directory / "stolen", standing.spiffe_id(CHECKOUT), cluster.secret(AUTHORITY)
    )
    screen.title("Refused: who refuses, and why; the caller saw it so, and the callee noted it so")
    refused = list(trials.refused(expired))
    screen.results(refused)
    return [*permitted, *refused]


def _show_policies(screen: Screen, cluster: Cluster, shop: Shop) -> None:
    screen.title("The NetworkPolicies in words, as the API server has them; all else is denied")
    policies = cluster.items(
        *("networkpolicies", "--all-namespaces", "--selector"),
        "app.kubernetes.io/managed-by=troth",
    )
    observed = [
        place
        for place, manifest in shop.identities.items()
        if manifest["spec"].get("enforcement") == "Observe"
    ]
    found = list(summaries(shop, policies))
    if {summary.workload for summary in found} != set(shop.identities) - set(observed):
        raise DemoError("not every identity that is enforced has a NetworkPolicy, or too many have")
    screen.policies(found, observed)


def _show_waiting(screen: Screen, shop: Shop, standing: Standing) -> None:
    screen.title("What waits for somebody, in the words of its status")
    waiting = standing.waiting()
    for place, entry in waiting:
        screen.waiting(place, entry["peer"], entry["state"], entry["message"])
    told = {
        Declared(place, Place.parse(entry["peer"]), port)
        for place, entry in waiting
        for port in entry["ports"]
        if entry["state"] == "AwaitingCallee"
    }
    if told != set(shop.called()) - set(shop.agreed()):
        raise DemoError("what waits is not just what callers alone declare")
