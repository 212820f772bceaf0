"""From a shop without Troth to default deny, by what a node agent saw.

The pods are real, on a kubelet's node with Services. No name, port or edge of the drafts comes from
`examples/shop`: they come from the cluster's objects and from the node's table of connections.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from sandbox import Sandbox, Tier
from sandbox.demo.shop import Edge, Place, Shop
from sandbox.node.manifests import workload_spec
from sandbox.node.namespaces import NetworkNamespace
from sandbox.node.workload import Layer, Mode, Target
from tests.chart.rendering import REPOSITORY
from tests.cluster.person import until
from tests.cluster.stage import Stage, staged
from tests.patience import PATIENCE
from tests.sandbox.nodes import apply, namespace, pods, skip_without
from tests.truth.conftest import CRDS
from troth.audit.traffic.agent_lines import AgentLog, read_agent_lines
from troth.resources.references import Ref

pytestmark = pytest.mark.timeout(900)

SHOP = Shop.read()
GOVERNED = ("shop", "finance", "legacy")
INGRESS, COLLECTOR = Place("ingress-nginx", "controller"), Place("monitoring", "prometheus")
STRANGER = Place("shop", "stranger")
PROVIDER = "198.51.100.7"
"""Address of a service outside the cluster."""
API_SERVER = "10.96.0.1:443"
KERNEL = {
    "nf_conntrack_tcp_timeout_time_wait": 120,
    "nf_conntrack_tcp_timeout_close": 10,
    "nf_conntrack_udp_timeout": 30,
}
"""Linux's own values, which the sandbox lowers."""
Manifest = dict[str, Any]


class Call(NamedTuple):
    """A connection between pods, or to an address."""

    caller: Place
    callee: str
    """`namespace/name:port` of pods, else an address with its port."""


@dataclass
class Pods:
    """The shop's pods: one of each workload, with every port open to everybody."""

    sandbox: Sandbox
    ports: dict[Place, dict[str, int]] = field(default_factory=dict)
    names: dict[Place, str] = field(default_factory=dict)
    addresses: dict[Place, str] = field(default_factory=dict)

    def deploy(self) -> None:
        """Start the shop, without one object of Troth, and wait until it runs."""
        apply(
            self.sandbox, *(namespace(each) for each in (*GOVERNED, "ingress-nginx", "monitoring"))
        )
        governed = [
            each
            for each in SHOP.manifests
            if each["kind"] in ("ServiceAccount", "Service")
            and each["metadata"]["namespace"] in GOVERNED
        ]
        self.ports = {
            each: SHOP.ports(each) for each in SHOP.identities if each.namespace in GOVERNED
        }
        self.ports |= {INGRESS: {}, COLLECTOR: {}, STRANGER: {"web": 8080}}
        accounts = [
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": each.name, "namespace": each.namespace},
            }
            for each in (INGRESS, COLLECTOR, STRANGER)
        ]
        apply(self.sandbox, *governed, *accounts, *(self._deployment(each) for each in self.ports))
        patience = f"--timeout={PATIENCE:.0f}s"
        for place in self.ports:
            self.sandbox.kubectl(
                *("rollout", "status", f"deployment/{place.name}", "-n", place.namespace, patience)
            )
            (name, pod), *_ = (
                (name, pod)
                for name, pod in pods(self.sandbox, place.namespace).items()
                if pod["metadata"]["labels"]["app"] == place.name
            )
            self.names[place], self.addresses[place] = name, pod["status"]["podIP"]

    def _deployment(self, place: Place) -> Manifest:
        labels = {"app": place.name}
        spec = workload_spec(plain=self.ports[place], service_account=place.name)
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": place.name, "namespace": place.namespace},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }

    def used(self) -> dict[Call, Target]:
        """Return the calls that the shop makes: to Services by their cluster IPs, and others."""
        found: dict[Call, Target] = {}
        for edge in SHOP.agreed():
            if edge.callee.namespace in GOVERNED:
                address = self._service(edge)
                found[_call(edge.caller, edge.callee, edge.port)] = Target(address, mode=Mode.PLAIN)
        checkout, payments = Place("shop", "checkout"), Place("shop", "payments")
        found[_call(INGRESS, checkout, "web")] = self.direct(checkout, "web")
        found[_call(COLLECTOR, payments, "metrics")] = self.direct(payments, "metrics")
        fulfilment = Place("shop", "fulfilment")
        found[Call(payments, f"{PROVIDER}:443")] = Target(f"{PROVIDER}:443", mode=Mode.PLAIN)
        found[Call(fulfilment, API_SERVER)] = Target(API_SERVER, mode=Mode.CONNECT)
        return found

    def _service(self, edge: Edge) -> str:
        path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"
        asked = ("get", "service", edge.callee.name, "-n", edge.callee.namespace, "-o", path)
        return self.sandbox.kubectl(*asked)

    def direct(self, callee: Place, port: str) -> Target:
        return Target(f"{self.addresses[callee]}:{self.ports[callee][port]}", mode=Mode.PLAIN)

    def never_used(self) -> dict[Call, Target]:
        """Return all other calls between the pods, and to the provider and the API server."""
        every = {
            _call(caller, callee, port): self.direct(callee, port)
            for caller, callee in permutations(self.ports, 2)
            for port in self.ports[callee]
        } | {
            Call(caller, address): Target(address, mode=Mode.CONNECT)
            for caller in self.ports
            for address in (f"{PROVIDER}:443", API_SERVER)
            if caller.namespace in GOVERNED
        }
        used = self.used()
        return {call: target for call, target in every.items() if call not in used}

    def results(self, calls: Mapping[Call, Target]) -> dict[Call, str]:
        """Make calls, and return how each ended: `answered`, or the reason."""
        by_caller: dict[Place, list[Call]] = {}
        for call in calls:
            by_caller.setdefault(call.caller, []).append(call)
        outcomes = self.sandbox.node.probe(
            {
                f"{caller.namespace}/{self.names[caller]}": [calls[each] for each in made]
                for caller, made in by_caller.items()
            }
        )
        return {
            call: outcome.reason if outcome.layer is Layer.NETWORK else outcome.layer.value
            for made, ended in zip(by_caller.values(), outcomes.values(), strict=True)
            for call, outcome in zip(made, ended, strict=True)
        }


def _call(caller: Place, callee: Place, port: str) -> Call:
    return Call(caller, f"{callee}:{port}")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Yield a node with Services, and Troth installed on it and not started."""
    skip_without(Tier.NODE)
    with Sandbox.start(tier=Tier.NODE) as sandbox:
        sandbox.kubectl("apply", "--server-side", "-f", str(CRDS))
        sandbox.await_crds(within=PATIENCE)
        async with staged(sandbox) as setting:
            yield setting


def tables_of(sandbox: Sandbox) -> Path:
    """Return the folder with the node's tables, and give its kernel Linux's own timeouts."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "kube-router" in command.split(" ")[0] and str(sandbox.directory) in command:
            with NetworkNamespace.of(int(process.name)).inside():
                for name, seconds in KERNEL.items():
                    Path("/proc/sys/net/netfilter", name).write_text(str(seconds))
            return process / "net"
    raise AssertionError("the node has no kube-router")


@contextmanager
def agent(tables: Path, log: Path) -> Iterator[None]:
    """Run a node agent while the context lasts; it ends with a list of everything."""
    command = [sys.executable, "-m", "troth.cli", "agent", "--node", "sandbox", "--interval", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--tables", str(tables)], stdout=output)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()


def troth(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does; the operator runs in this process."""
    return subprocess.run(
        [sys.executable, "-m", "troth.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        cwd=REPOSITORY,
    )


def _read(log: Path) -> AgentLog:
    return read_agent_lines(log.read_bytes().splitlines())


async def all_seen(pods_of_shop: Pods, log: Path) -> None:
    """Wait until the agent has printed a pair for every call that was made."""
    wanted = {
        (pods_of_shop.addresses[call.caller], target.address.rpartition(":")[0])
        for call, target in pods_of_shop.used().items()
        if target.address != API_SERVER and not target.address.startswith("10.96.")
    }
    count = len(pods_of_shop.used())

    async def look() -> bool:
        pairs = _read(log).pairs
        ends = {(each.source, each.destination) for each in pairs}
        ours = {each for each in pairs if each.source in pods_of_shop.addresses.values()}
        return wanted <= ends and len(ours) >= count

    await until(look, bool)


async def enforced(stage: Stage, drafts: list[Manifest]) -> None:
    """Switch all identities of the drafts to Enforce; wait until the packet filter has them."""
    for manifest in drafts:
        if manifest["kind"] == "ServiceIdentity":
            ref = Ref.of(manifest)
            await stage.person.edit("ServiceIdentity", ref, {"spec": {"enforcement": "Enforce"}})
            await stage.person.hears("ServiceIdentity", ref, "NetworkEnforced", "Enforced", "True")
    await stage.settled()
    await asyncio.to_thread(stage.sandbox.node.caught_up)


def told(*lines: object) -> None:
    """Print a part of the transcript, which `pytest -s` shows."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


async def test_shop_is_learned_observed_and_enforced_and_nothing_that_worked_is_denied(
    stage: Stage, tmp_path: Path
) -> None:
    sandbox, log, folder = stage.sandbox, tmp_path / "agent.log", tmp_path / "drafts"
    shop = Pods(sandbox)
    await asyncio.to_thread(shop.deploy)
    outside = await asyncio.to_thread(
        sandbox.node.add_outsider, "provider", PROVIDER, "--plain", "web=443"
    )
    assert outside
    used, never = shop.used(), shop.never_used()
    told(
        "# the shop runs, with no resource of Troth",
        sandbox.kubectl("get", "pods", "-A", "-o", "wide"),
    )

    # it works, and the agent watches
    with agent(tables_of(sandbox), log):
        assert set((await asyncio.to_thread(shop.results, used)).values()) == {"answered"}
        await all_seen(shop, log)
    seen = _read(log)
    assert seen.summary is not None
    assert (seen.malformed, seen.summary.malformed, seen.summary.problem) == (0, 0, "")
    told("$ troth agent", log.read_text())
    assert set((await asyncio.to_thread(shop.results, never)).values()) == {"answered"}

    # it is drafted
    chosen = [part for each in GOVERNED for part in ("--namespace", each)]
    place = ("--kubeconfig", str(sandbox.kubeconfig))
    arguments = (*place, *chosen, "--own-namespace", stage.own, "--agent-log", str(log))
    drafted = await asyncio.to_thread(troth, "learn", *arguments, "--output-dir", str(folder))
    assert drafted.returncode == 0, drafted.stderr
    told("$ troth learn --agent-log agent.log -n shop -n finance -n legacy --output-dir drafts")
    for file in sorted(folder.iterdir()):
        told(f"# drafts/{file.name}", file.read_text())
    drafts = [
        each
        for file in sorted(folder.iterdir())
        for each in yaml.safe_load_all(file.read_text())
        if each
    ]
    checked = await asyncio.to_thread(
        troth, "check", "-f", str(folder), *place, "--own-namespace", stage.own
    )
    told("$ troth check -f drafts", checked.stdout)
    assert checked.returncode == 0, checked.stdout

    # it is applied in Observe, and changes nothing
    stage.domains.append("learned")
    stage.namespaces += GOVERNED
    await asyncio.to_thread(apply, sandbox, *drafts)
    await stage.run()
    for manifest in drafts:
        if manifest["kind"] == "ServiceIdentity":
            await stage.person.ready("ServiceIdentity", Ref.of(manifest))
    await stage.settled()
    assert await _policies(stage) == []
    assert set((await asyncio.to_thread(shop.results, used)).values()) == {"answered"}
    told("# applied with enforcement: Observe", sandbox.kubectl("get", "serviceidentities", "-A"))

    # it is enforced: what worked works, and what was never seen is denied
    await enforced(stage, drafts)
    told("# enforcement: Enforce", sandbox.kubectl("get", "networkpolicies", "-A"))
    after = await asyncio.to_thread(shop.results, used)
    told(*(f"{call.caller} -> {call.callee}: {how}" for call, how in after.items()))
    assert set(after.values()) == {"answered"}
    denied = await asyncio.to_thread(shop.results, _between_identities(never))
    told(*(f"{call.caller} -> {call.callee}: {how}" for call, how in denied.items()))
    assert set(denied.values()) <= {"rejected", "timeout"}
    assert denied


async def _policies(stage: Stage) -> list[Manifest]:
    return [
        each
        for namespace_ in GOVERNED
        for each in await stage.person.all("NetworkPolicy", namespace_)
    ]


def _between_identities(never: Mapping[Call, Target]) -> dict[Call, Target]:
    """Return the calls of which one end is an identity: the others are not Troth's to close."""
    governed = tuple(f"{each}/" for each in GOVERNED)
    return {
        call: target
        for call, target in never.items()
        if call.caller.namespace in GOVERNED or call.callee.startswith(governed)
    }
