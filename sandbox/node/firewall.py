"""kube-router as the node's firewall: NetworkPolicies become packet filter rules.

kube-router runs in the node's namespace. *Barriers* show when it has applied all policies: a
barrier is a NetworkPolicy that selects no pod and has a new name. Each synchronization of
kube-router writes the whole table. So when that name is in the table, all policies declared before
the barrier are in force.
"""

import asyncio
import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sandbox.components import SERVICE_RANGE
from sandbox.errors import SandboxError
from sandbox.node.api import Api, insist
from sandbox.node.children import Children
from sandbox.node.host import Host

VARIANTS = ("legacy", "nft")  # the first that the kernel supports; legacy is faster
COMMANDS = tuple(
    f"{family}tables{verb}" for family in ("ip", "ip6") for verb in ("", "-save", "-restore")
)

CHAINS = "KUBE-(?:ROUTER|NWPLCY|POD-FW)-"  # kube-router's own

BARRIER_NAMESPACE = "kube-node-lease"  # always exists, and never has pods
BARRIERS = f"/apis/networking.k8s.io/v1/namespaces/{BARRIER_NAMESPACE}/networkpolicies"
# kube-router receives pods and namespaces on other connections than policies, so they may arrive
# later. A second barrier adds the time of one synchronization.
ROUNDS = 2
POLL_SECONDS = 0.01
FLUSH_SECONDS = 0.1
READ_ATTEMPTS = 100
LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Running:
    pid: int
    end: asyncio.Future[None]


class Firewall:
    """The packet filter of one node."""

    def __init__(
        self,
        host: Host,
        children: Children,
        api: Api,
        *,
        program: Path,
        kubeconfig: Path,
        node: str,
        directory: Path,
        environment: Mapping[str, str],
        failed: Callable[[int], None],
    ) -> None:
        self._host = host
        self._children = children
        self._api = api
        self._argv = _flags(program, kubeconfig, node)
        self._log = directory / "kube-router.log"
        self._commands = directory / "iptables"
        path = f"{self._commands}:{environment['PATH']}"
        self._environment = {**environment, "PATH": path}
        self._failed = failed
        self._numbers = count(1)
        self._asking: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._running: _Running | None = None
        self._choose_variant()

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment whose PATH has iptables in the variant that the kernel supports."""
        return self._environment

    @property
    def on(self) -> bool:
        """Whether policies are enforced."""
        return self._running is not None

    def translate(self, address: tuple[str, int], to: tuple[str, int]) -> None:
        """Redirect pods' connections to a Service to its endpoint, as a service proxy does.

        The redirect precedes the filter, as with a service proxy: a policy sees the endpoint.
        """
        rule = ["-d", address[0], "-p", "tcp", "--dport", str(address[1])]
        rule += ["-j", "DNAT", "--to-destination", f"{to[0]}:{to[1]}"]
        self._run("iptables", "-t", "nat", "-A", "PREROUTING", *rule)

    def start(self) -> None:
        """Start to enforce policies; `caught_up` waits until they are in force."""
        if self._running:
            return
        end = asyncio.get_running_loop().create_future()
        pid = self._children.start(
            self._argv,
            log=self._log,
            ended=lambda returncode: self._ended(end, returncode),
            network=self._host.network,
            env=self._environment,
        )
        self._running = _Running(pid, end)

    async def stop(self) -> None:
        """Stop to enforce policies; return when all connections are allowed."""
        running, self._running = self._running, None
        if not running:
            return
        self._children.kill(running.pid)
        await running.end
        deadline = time.monotonic() + LIMIT_SECONDS
        # kube-router's last command may finish after its process has ended.
        while removal := _removal(await self.rules()):
            try:
                self._run("iptables-restore", "--noflush", stdin=removal)
            except SandboxError:  # the table has changed and this applied nothing: retry
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(FLUSH_SECONDS)

    async def rules(self) -> str:
        """Return the packet filter's current table."""
        for _ in range(READ_ATTEMPTS):
            # This fails if kube-router removes a set while iptables-save looks up its name.
            with contextlib.suppress(SandboxError):
                return self._run("iptables-save", "-t", "filter")
            await asyncio.sleep(POLL_SECONDS)
        return self._run("iptables-save", "-t", "filter")

    async def caught_up(self) -> None:
        """Return once all policies declared before this call are in force.

        Callers that arrive during a wait share the next one.
        """
        if not self.on:
            return
        if self._asking is None:
            self._asking = asyncio.create_task(self._after(self._waiting))
        await asyncio.shield(self._asking)

    async def _after(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier:
            await asyncio.wait([earlier])
        self._waiting, self._asking = self._asking, None
        for _ in range(ROUNDS):
            await self._barrier()

    async def _barrier(self) -> None:
        name = f"sandbox-barrier-{next(self._numbers)}"
        barrier = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name},
            "spec": {"podSelector": {"matchLabels": {name: ""}}, "ingress": [{}]},
        }
        await insist(lambda: self._api.create(BARRIERS, barrier))
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.on and f"policy name: {name} " not in await self.rules():
            if time.monotonic() > deadline:
                raise SandboxError(f"kube-router did not catch up in {LIMIT_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        await insist(lambda: self._api.delete(f"{BARRIERS}/{name}"))

    def _ended(self, end: asyncio.Future[None], returncode: int) -> None:
        end.set_result(None)
        if self._running and self._running.end is end:
            self._failed(returncode)

    def _choose_variant(self) -> None:
        self._commands.mkdir()
        for variant in VARIANTS:
            program = _on_path(f"xtables-{variant}-multi", self._environment)
            if program is None:
                continue
            for command in COMMANDS:
                link = self._commands / command
                link.unlink(missing_ok=True)
                link.symlink_to(program)
            try:
                self._run("iptables", "-S")
            except SandboxError:
                continue
            return
        raise SandboxError("the kernel takes neither kind of iptables: it lacks netfilter")

    def _run(self, command: str, *arguments: str, stdin: str = "") -> str:
        with self._host.network.inside():
            done = subprocess.run(
                [self._commands / command, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                env=self._environment,
            )
        if done.returncode:
            raise SandboxError(f"{command} failed: {done.stderr.strip()}")
        return done.stdout


def _removal(rules: str) -> str:
    """Return input for iptables-restore that removes kube-router's chains; empty if it has none.

    Chains of kube-proxy and the kubelet stay in the table.
    """
    chains = re.findall(rf"^:({CHAINS}\S*)", rules, re.MULTILINE)
    jumps = re.findall(rf"^-A ((?!{CHAINS}).* -[jg] {CHAINS}.*)$", rules, re.MULTILINE)
    lines = [f"-D {jump}" for jump in jumps]
    lines += [f"{action} {chain}" for action in ("-F", "-X") for chain in chains]
    return "\n".join(["*filter", *lines, "COMMIT", ""]) if lines else ""


def _flags(program: Path, kubeconfig: Path, node: str) -> Sequence[str | Path]:
    return [
        program,
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--metrics-port=0",
        "--health-port=0",
        "--v=1",
    ]


def _on_path(program: str, environment: Mapping[str, str]) -> Path | None:
    for directory in environment["PATH"].split(":"):
        found = Path(directory, program)
        if found.is_file() and os.access(found, os.X_OK):
            return found
    return None
