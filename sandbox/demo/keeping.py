"""The demo on a cluster that stays: `make demo KEEP=1`."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox.cluster import Sandbox
from sandbox.demo.acts import show_acts
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.keeper import PROCESS
from sandbox.demo.play import RUNS_AS, describe, install, prepare
from sandbox.demo.programs import SECONDS
from sandbox.demo.screen import Screen
from sandbox.demo.setting import Setting
from sandbox.detached import DetachedSandbox
from sandbox.node.node import Node
from sandbox.node.tiers import Tier
from sandbox.processes import Tether, tail

NAME = "demo"
REPOSITORY = Path(__file__).parents[2]


def play_and_keep(screen: Screen, setting: Setting) -> bool:
    """Play on a new cluster and leave it and its operator running; return as `play` does.

    Removes a cluster of an earlier run first. If the demo fails to finish, nothing is kept.
    """
    prepare(setting)
    sandbox = DetachedSandbox(NAME)
    sandbox.down()
    try:
        with screen.step("cluster") as say:
            sandbox.up(setting.tier)
            kubeconfig = sandbox.kubeconfig
            node = Node.of(kubeconfig)
            cluster = Cluster(Sandbox(kubeconfig.parent, kubeconfig, node=node))
            say(describe(cluster, setting))
        operators = install(screen, cluster, setting)
        with screen.step("operator") as say:
            keeper = _Keeper(kubeconfig, operators)
            say(RUNS_AS)
        with Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))) as tether:
            good = show_acts(screen, cluster, tether, setting, keeper.crash)
    except BaseException:
        sandbox.down()
        raise
    screen.title("The cluster and the operator keep running")
    screen.console.print(_what_to_try(setting.tier), markup=False, soft_wrap=True)
    return good


class _Keeper:
    """A process that keeps the operator running and ends with the cluster."""

    def __init__(self, cluster: Path, kubeconfig: Path) -> None:
        self._operator, self._log = cluster.with_name(PROCESS), cluster.with_name("keeper.log")
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sandbox.demo.keeper", str(cluster), str(kubeconfig)],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._await_operator()

    def crash(self) -> None:
        """Kill the operator; return when another is ready."""
        number = int(self._operator.read_text())
        self._operator.unlink()
        os.kill(number, signal.SIGKILL)
        self._await_operator()

    def _await_operator(self) -> None:
        deadline = time.monotonic() + SECONDS
        while not self._operator.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.terminate()
                raise DemoError(tail(self._log) or "the operator did not become ready")
            time.sleep(0.05)  # the keeper writes this file


def _what_to_try(tier: Tier) -> str:
    path = Path(sys.executable)
    if path.is_relative_to(REPOSITORY):
        path = path.relative_to(REPOSITORY)
    python = shlex.quote(str(path))
    sandbox = f"{python} -m sandbox"
    return f"""
  eval "$({sandbox} env --name {NAME})"             # kubectl and helm for this cluster

  kubectl get troth --all-namespaces                # all resources and their state
  kubectl explain serviceidentity.spec              # the fields
  kubectl describe serviceidentity -n finance reporting     # an edge that waits for the other side
  {python} -m troth.cli token explain shop/checkout shop/payments     # what a token can contain
{FROM_A_POD if tier is Tier.NODE else ""}
  # ledger accepts reporting too, so the edge opens on both sides
  kubectl patch serviceidentity ledger -n finance --type=json -p \\
    '[{{"op":"add","path":"/spec/accepts/-","value":{{"from":{{"name":"reporting"}},"ports":["https"]}}}}]'

  # delete what Troth wrote, and see it restored
  kubectl delete networkpolicy,secret -n shop --selector app.kubernetes.io/managed-by=troth
  kubectl get networkpolicy,secret -n shop
  kubectl get events -n shop --field-selector involvedObject.kind=ServiceIdentity

  {sandbox} down --name {NAME}                      # remove the cluster
"""


FROM_A_POD = """
  # call ledger from reporting's pod: rejected until ledger accepts it (below)
  LEDGER=$(kubectl get pods -n finance -l app=ledger -o jsonpath='{.items[0].status.podIP}')
  echo '{"do":"call","targets":[{"address":"'$LEDGER':8443","port":"https","mode":"connect"}]}' |
    kubectl exec -i -n finance deploy/reporting -- /workload call
"""
