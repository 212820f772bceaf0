"""The program inside a node: process 1 of the node's namespaces.

    python -m sandbox.node.supervisor SETTINGS

The process stays in the machine's network, where the API server is, and creates the node's network
as a separate namespace. When it ends, the kernel ends all processes inside, and the namespaces end
with the last of them. It ends when a part of the node ends.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import NoReturn, Protocol

from sandbox.components import (
    ADVERTISED,
    EGRESS_SOCKET,
    FIRST_SERVICE_ADDRESS,
    LOOPBACK,
    NODE,
    NODE_ADDRESS,
)
from sandbox.errors import SandboxError
from sandbox.node import control, gateway, parts
from sandbox.node.api import Api
from sandbox.node.channel import open_channel
from sandbox.node.children import Children
from sandbox.node.firewall import Firewall
from sandbox.node.host import Host
from sandbox.node.images import Image
from sandbox.node.kubelet import Kubelet
from sandbox.node.launch import Launcher
from sandbox.node.lifecycle import Lifecycle
from sandbox.node.namespaces import NetworkNamespace
from sandbox.node.outsiders import Outsiders
from sandbox.node.pods import ProcessPods
from sandbox.node.scheduler import bind_all
from sandbox.node.settings import (
    CONTROL_SOCKET,
    PAUSE_IMAGE,
    POD_NETWORK,
    WORKLOAD_IMAGE,
    Settings,
)
from sandbox.node.tiers import Tier
from sandbox.processes import tail


class Runtime(Protocol):
    """A runtime that runs the pods of this node."""

    async def start(self) -> None:
        """Start; return when the Node exists and is ready."""

    async def run(self) -> None:
        """Run pods until cancelled."""

    async def network_of(self, namespace: str, name: str) -> NetworkNamespace | None:
        """Return the network namespace of a pod, `None` if it does not run."""


class Inside:
    """A node and the actions of its control socket."""

    def __init__(self, settings: Settings) -> None:
        directory = Path(settings.directory)
        self._settings = settings
        self._api = Api.of(Path(settings.kubeconfig))
        self._children = Children()
        self._children.watch()
        self._host = Host([NODE_ADDRESS, ADVERTISED])
        self._firewall = Firewall(
            self._host,
            self._children,
            self._api,
            program=Path(settings.programs["kube-router"]),
            kubeconfig=Path(settings.inside_kubeconfig),
            node=NODE,
            directory=directory,
            environment=parts.environment(*map(Path, settings.packages)),
            failed=failure_of("kube-router"),
        )
        workload = Path(settings.programs["workload"])
        image = Image(WORKLOAD_IMAGE, {"/workload": workload}, ("/workload",))
        pause = Image(PAUSE_IMAGE, {"/workload": workload}, ("/workload", "pause"))
        launcher = Launcher(self._host, self._children, directory / "pods", [image])
        self._outsiders = Outsiders(launcher, image)
        self._pods: ProcessPods | None = None
        self._runtime: Runtime
        if settings.tier is Tier.NODE:
            self._runtime = Kubelet(
                self._api,
                self._children,
                self._host,
                settings=settings,
                images=[image, pause],
                failure_of=failure_of,
            )
        else:
            lifecycle = Lifecycle(self._api, launcher, self._firewall, NODE_ADDRESS)
            self._pods = ProcessPods(
                self._api,
                launcher,
                lifecycle,
                node=NODE,
                address=NODE_ADDRESS,
                network=IPv4Network(POD_NETWORK),
            )
            self._runtime = self._pods

    async def run(self) -> None:
        """Start all parts, then serve until cancelled."""
        server = self._settings.api_server_port
        network = self._host.network
        inwards = await gateway.open_inwards(network, (ADVERTISED, server), (LOOPBACK, server))
        outwards = await gateway.open_outwards(network, Path(EGRESS_SOCKET))
        self._firewall.translate((FIRST_SERVICE_ADDRESS, 443), (ADVERTISED, server))
        await self._runtime.start()
        if self._settings.tier is Tier.NODE:
            self._start_service_proxy()
        self._firewall.start()
        async with inwards, outwards, asyncio.TaskGroup() as group:
            group.create_task(self._runtime.run())
            group.create_task(bind_all(self._api, NODE))
            await self._firewall.caught_up()
            actions: dict[str, control.Action] = {
                "open": self._open,
                "outsider": self._outsider,
                "caught_up": self._caught_up,
                "firewall": self._switch_firewall,
                "rules": self._rules,
                "delay": self._delay,
                "load_image": self._load_image,
            }
            group.create_task(control.serve(Path(CONTROL_SOCKET), actions))

    def _start_service_proxy(self) -> None:
        """Run kube-proxy, which translates the addresses of Services.

        kube-router has a proxy too, but it requires IPVS in the kernel.
        """
        self._children.start(
            [
                self._settings.programs["kube-proxy"],
                f"--kubeconfig={self._settings.inside_kubeconfig}",
                f"--hostname-override={NODE}",
                "--proxy-mode=iptables",
                f"--cluster-cidr={POD_NETWORK}",
                # Keep the machine's sizes and timeouts of connection tracking.
                *("--conntrack-max-per-core=0", "--conntrack-min=0"),
                *("--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"),
                *("--healthz-bind-address=", "--metrics-bind-address="),
            ],
            log=Path(self._settings.directory) / "kube-proxy.log",
            ended=failure_of("kube-proxy"),
            network=self._host.network,
            env=self._firewall.environment,
        )

    async def _open(self, namespace: str, name: str) -> socket.socket:
        if namespace:
            network = await self._runtime.network_of(namespace, name)
        else:
            network = self._outsiders.network_of(name)
        if network is None:
            raise SandboxError(f"{namespace or 'the outsider'} {name} does not run".strip())
        return open_channel(network)

    async def _outsider(self, name: str, address: str, arguments: Sequence[str]) -> control.Answer:
        await self._outsiders.add(name, address, arguments)
        return {}

    async def _caught_up(self) -> control.Answer:
        await self._firewall.caught_up()
        return {}

    async def _switch_firewall(self, *, on: bool) -> control.Answer:
        if on:
            self._firewall.start()
            await self._firewall.caught_up()
        else:
            await self._firewall.stop()
        return {}

    async def _rules(self) -> control.Answer:
        return {"rules": await self._firewall.rules()}

    async def _load_image(self, archive: str) -> control.Answer:
        if not isinstance(self._runtime, Kubelet):
            raise SandboxError("process pods have no images; use the node tier")
        await self._runtime.load_image(Path(archive))
        return {}

    async def _delay(self, least: float, most: float) -> control.Answer:
        if self._pods is None:
            raise SandboxError("the kubelet takes its own time; process pods can be told")
        self._pods.projection_delay = least, most
        return {}


def failure_of(part: str) -> Callable[[int], NoReturn]:
    """Return a callback that ends this process, and so the node, when a part ends."""

    def end(returncode: int) -> NoReturn:
        print(f"{part} ended with {returncode}:\n{tail(Path(f'{part}.log'))}", flush=True)
        os._exit(1)

    return end


async def main(settings: Settings) -> None:
    """Run a node until killed."""
    await Inside(settings).run()


if __name__ == "__main__":
    # Programs of the node write locks, sockets and namespace names to a private /run, which the
    # mount namespaces of containers share.
    for arguments in (["-t", "tmpfs", "tmpfs", "/run"], ["--make-rshared", "/run"]):
        subprocess.run(["mount", *arguments], check=True)
    asyncio.run(main(Settings.read(Path(sys.argv[1]))))
