"""A small substitute for the kubelet: a network namespace and a process for each pod.

Other components see the same behaviour as with the kubelet: volumes before the process, no process
before its Secrets exist, and true statuses. A pod's status names unsupported features. Unlike with
the kubelet, a process starts only once the firewall knows its address, so it is never unprotected.
"""

import asyncio
import random
from collections.abc import Iterator
from ipaddress import IPv4Network

import aiohttp

from sandbox.node import podspec
from sandbox.node.api import Api, ApiError, Change, Manifest
from sandbox.node.launch import Launcher
from sandbox.node.lifecycle import Lifecycle, RunningPod
from sandbox.node.namespaces import NetworkNamespace
from sandbox.node.podspec import NotYetError
from sandbox.node.projection import Directory, Sources
from sandbox.node.registration import register
from sandbox.node.volumes import Volumes

RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.02  # changes within this time are handled together
RENEWAL_CHECK_SECONDS = 30.0
FINISHED = ("Succeeded", "Failed")


class ProcessPods:
    """Runs the pods that are bound to one node.

    `projection_delay` is the delay in seconds between a change of a Secret or ConfigMap and of its
    files: a random value between the two bounds.
    """

    def __init__(
        self,
        api: Api,
        launcher: Launcher,
        lifecycle: Lifecycle,
        *,
        node: str,
        address: str,
        network: IPv4Network,
    ) -> None:
        self._api = api
        self._launcher = launcher
        self._lifecycle = lifecycle
        self._node = node
        self._address = address
        self._addresses: Iterator[str] = (str(address) for address in network.hosts())
        self._sources = Sources()
        self._volumes = Volumes(api, self._sources)
        self._waiting: dict[str, Manifest] = {}
        self._running: dict[str, RunningPod] = {}
        self._ending: list[RunningPod] = []
        self._startable, self._clearable = asyncio.Event(), asyncio.Event()
        self.projection_delay = 0.0, 0.0

    async def start(self) -> None:
        """Create the Node."""
        await register(self._api, self._node, self._address)

    async def run(self) -> None:
        """Run pods until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_sources("secret", "/api/v1/secrets"))
            group.create_task(self._follow_sources("configmap", "/api/v1/configmaps"))
            group.create_task(self._follow_pods())
            group.create_task(self._start_for_ever())
            group.create_task(self._clear_for_ever())
            group.create_task(self._renew_tokens())

    async def network_of(self, namespace: str, name: str) -> NetworkNamespace | None:
        """Return the network namespace of a pod, `None` if it does not run."""
        for running in self._running.values():
            metadata = running.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, name):
                return running.place.link.network
        return None

    async def _follow_pods(self) -> None:
        fields = f"spec.nodeName={self._node}"
        async for change, pod in self._api.follow("/api/v1/pods", fields=fields):
            uid = pod["metadata"]["uid"]
            if change is Change.DELETED or pod["metadata"].get("deletionTimestamp"):
                self._end(uid, pod)
            elif uid in self._running:
                self._running[uid].pod = pod
            elif pod["status"].get("phase") not in FINISHED:
                self._waiting[uid] = pod
                self._startable.set()

    def _end(self, uid: str, pod: Manifest) -> None:
        self._waiting.pop(uid, None)
        running = self._running.pop(uid, None)
        if running:
            running.pod = pod
            self._lifecycle.kill(running)
            self._ending.append(running)
            self._clearable.set()
        elif pod["metadata"].get("deletionTimestamp"):
            self._lifecycle.spawn(self._lifecycle.confirm_end(pod))

    async def _start_for_ever(self) -> None:
        while True:
            await self._startable.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._startable.clear()
            prepared = await asyncio.gather(*map(self._prepare, list(self._waiting.values())))
            if starting := [running for running in prepared if running]:
                await self._lifecycle.start(starting)

    async def _clear_for_ever(self) -> None:
        while True:
            await self._clearable.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._clearable.clear()
            ending, self._ending = self._ending, []
            self._launcher.clear([running.place for running in ending])
            for running in ending:
                self._volumes.forget(running.uid)
                self._lifecycle.spawn(self._lifecycle.confirm_end(running.pod))

    async def _prepare(self, pod: Manifest) -> RunningPod | None:
        """Create a pod's place with its volumes, or report why it cannot be created yet."""
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        try:
            container = podspec.container_of(pod)
            image = self._launcher.image(container["image"])
            mounts = podspec.mounts(pod, container)
            payloads = [await self._volumes.payload(pod, volume) for _, volume in mounts]
        except NotYetError as error:
            self._lifecycle.spawn(self._lifecycle.report_waiting(pod, str(error)))
            return None  # until a Secret or ConfigMap appears
        except (ApiError, aiohttp.ClientError) as error:
            print(f"{name} has to wait for its token: {error!r}", flush=True)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._startable.set)
            return None
        if self._waiting.pop(uid, None) is None:
            return None  # deleted meanwhile
        running = RunningPod(pod, self._launcher.place(name, next(self._addresses), image))
        for (path, volume), payload in zip(mounts, payloads, strict=True):
            directory = Directory(running.place.root / path)
            if payload is not None:
                directory.write(payload)
                running.projected.append((volume, directory))
        self._running[uid] = running
        return running

    async def _follow_sources(self, kind: str, path: str) -> None:
        loop = asyncio.get_running_loop()
        async for change, manifest in self._api.follow(path):
            if change is Change.DELETED:
                self._sources.forget(kind, manifest)  # pods keep their mounted files
                continue
            self._sources.keep(kind, manifest)
            if self._waiting:
                self._startable.set()
            metadata = manifest["metadata"]
            changed = metadata["namespace"], metadata["name"]
            if delay := random.uniform(*self.projection_delay):  # noqa: S311
                loop.call_later(delay, self._project_for, kind, *changed)
            else:
                self._project_for(kind, *changed)

    def _project_for(self, kind: str, namespace: str, name: str) -> None:
        for running in self._running.values():
            here = running.pod["metadata"]["namespace"] == namespace
            if here and any(podspec.has(volume, kind, name) for volume, _ in running.projected):
                self._lifecycle.spawn(self._project(running))

    async def _project(self, running: RunningPod) -> None:
        for volume, directory in running.projected:
            try:
                payload = await self._volumes.payload(running.pod, volume)
            except (NotYetError, ApiError, aiohttp.ClientError) as error:
                print(f"{running.place.name} keeps what it has mounted: {error}", flush=True)
                continue
            if payload is not None and not running.ended:
                directory.write(payload)

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_CHECK_SECONDS)
            if self._volumes.renewal_is_due():
                for running in list(self._running.values()):
                    await self._project(running)
