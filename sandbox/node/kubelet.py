"""A real kubelet with containerd and runc, in the node's namespaces."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandbox.components import NODE, NODE_ADDRESS
from sandbox.errors import SandboxError
from sandbox.node import cgroups, containers, parts
from sandbox.node.api import NOT_FOUND, Api, ApiError
from sandbox.node.children import Children
from sandbox.node.host import Host
from sandbox.node.images import Image
from sandbox.node.namespaces import NetworkNamespace
from sandbox.node.registration import untaint
from sandbox.node.settings import Settings
from sandbox.processes import tail

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
CTR = ("ctr", "--address", containers.SOCKET, "--namespace", "k8s.io")


class Kubelet:
    """Runs the pods that are bound to one node, in containers."""

    def __init__(
        self,
        api: Api,
        children: Children,
        host: Host,
        *,
        settings: Settings,
        images: Sequence[Image],
        failure_of: Callable[[str], Callable[[int], None]],
    ) -> None:
        self._api = api
        self._children = children
        self._host = host
        self._settings = settings
        self._images = images
        self._failure_of = failure_of
        self._directory = Path(settings.directory)
        self._packages = [Path(root) for root in settings.packages]
        self._environment = parts.environment(*self._packages)

    async def start(self) -> None:
        """Start containerd and the kubelet; return when the Node is ready."""
        containers.shield_the_machine(self._directory)
        containers.make_kubelet_root(self._directory)
        configuration = self._directory / "containerd.toml"
        plugins = parts.found(containers.CNI_PLUGINS, self._packages)
        configuration.write_text(containers.containerd(self._directory, plugins))
        self._run("containerd", ["containerd", "--config", configuration])
        await self._until(self._containerd_answers, "containerd")
        self._run("kubelet", self._kubelet())  # starts last: it does not wait for containerd
        for image in self._images:
            archive = self._directory / "image.tar"
            image.write_archive(archive)
            self._ctr("images", "import", archive)
            archive.unlink()
        await self._until(self._node_is_ready, "the kubelet")
        await untaint(self._api, NODE)

    async def load_image(self, archive: Path) -> None:
        """Import an archive's images into containerd; raises `SandboxError` with ctr's output."""
        log = self._directory / "ctr.log"
        log.unlink(missing_ok=True)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._children.start(
            [*CTR, "images", "import", archive],
            log=log,
            ended=ended.set_result,
            env=self._environment,
        )
        if await ended:
            raise SandboxError(f"containerd cannot load {archive}: {tail(log)}")

    async def run(self) -> None:
        """Wait until cancelled: the kubelet runs the pods."""
        await asyncio.Event().wait()

    async def network_of(self, namespace: str, name: str) -> NetworkNamespace | None:
        """Return the network namespace of a pod, `None` if it does not run."""
        try:
            pod = await self._api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise SandboxError(str(error)) from error
        for status in pod["status"].get("containerStatuses", ()):
            started, _, identifier = status.get("containerID", "").rpartition("/")
            if started:
                for process in cgroups.processes(self._settings.control_group, identifier):
                    return NetworkNamespace.of(process)
        return None

    def _kubelet(self) -> list[str | Path]:
        settings = self._settings
        configuration = self._directory / "kubelet.json"
        configuration.write_text(json.dumps(containers.kubelet(self._directory, settings)))
        return [
            settings.programs["kubelet"],
            f"--config={configuration}",
            f"--kubeconfig={settings.kubelet_kubeconfig}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
            f"--root-dir={containers.KUBELET_ROOT}",
            f"--cert-dir={containers.KUBELET_ROOT}",
        ]

    def _run(self, name: str, argv: Sequence[str | Path]) -> None:
        self._children.start(
            argv,
            log=self._directory / f"{name}.log",
            ended=self._failure_of(name),
            network=self._host.network,
            env=self._environment,
        )

    def _ctr(self, *arguments: str | Path) -> bool:
        done = subprocess.run(
            [*CTR, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
        )
        return done.returncode == 0

    async def _containerd_answers(self) -> bool:
        return self._ctr("version")

    async def _node_is_ready(self) -> bool:
        try:
            node = await self._api.get(f"/api/v1/nodes/{NODE}")
        except ApiError:
            return False
        conditions: Sequence[Mapping[str, Any]] = node["status"].get("conditions", ())
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    async def _until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not await condition():
            if time.monotonic() > deadline:
                raise SandboxError(f"{what} was not ready after {READY_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
