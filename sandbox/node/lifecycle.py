"""Brings a prepared pod to ready: address, firewall and process, and reports its status."""

import asyncio
import os
import traceback
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field

from sandbox.node import podspec, status
from sandbox.node.api import Api, Manifest, insist, path_of
from sandbox.node.channel import serves
from sandbox.node.firewall import Firewall
from sandbox.node.launch import Launcher, Place
from sandbox.node.podspec import NotYetError
from sandbox.node.projection import Directory

READY_POLL_SECONDS, POLL_GROWTH, LONGEST_POLL_SECONDS = 0.005, 1.05, 0.5
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.1, 10.0


@dataclass(slots=True)
class RunningPod:
    """A pod that has a place on the node, with the volumes to keep up to date."""

    pod: Manifest
    place: Place
    projected: list[tuple[Manifest, Directory]] = field(default_factory=list)
    container: status.Container = field(default_factory=status.Container)
    posting: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: bool = False

    @property
    def uid(self) -> str:
        """UID of the pod."""
        return str(self.pod["metadata"]["uid"])

    @property
    def spec(self) -> Manifest:
        """Specification of the pod's container."""
        return podspec.container_of(self.pod)


class Lifecycle:
    """Starts pods, restarts their processes, and reports their status."""

    def __init__(self, api: Api, launcher: Launcher, firewall: Firewall, address: str) -> None:
        self._api = api
        self._launcher = launcher
        self._firewall = firewall
        self._address = address
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a task in the background; an unexpected error ends the node."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def start(self, batch: Sequence[RunningPod]) -> None:
        """Start a batch of prepared pods; return when their processes run."""
        self._launcher.connect([running.place for running in batch])
        await asyncio.gather(*map(self.report, batch))
        await self._firewall.caught_up()
        for running in batch:
            if not running.ended:
                self._start_process(running)
        self.spawn(self._until_ready(batch))

    def kill(self, running: RunningPod) -> None:
        """End the process of a pod that is being deleted."""
        running.ended = True
        if running.container.process is not None:
            self._launcher.kill(running.container.process)

    async def report(self, running: RunningPod) -> None:
        """Write the status of a pod to the API server."""
        async with running.posting:  # the last report has the newest state
            document = status.report(
                running.pod,
                running.container,
                address=running.place.link.address,
                host=self._address,
            )
            await self._patch(running.pod, document)

    async def report_waiting(self, pod: Manifest, message: str) -> None:
        """Write the reason why a pod does not start to its status."""
        document = status.waiting(pod, message)
        if pod["status"].get("containerStatuses") != document["containerStatuses"]:
            await self._patch(pod, document)

    async def confirm_end(self, pod: Manifest) -> None:
        """Delete a pod that has ended from the API server."""
        uid = pod["metadata"]["uid"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await insist(lambda: self._api.delete(path_of(pod, "pods"), options))

    def _start_process(self, running: RunningPod) -> None:
        container, spec = running.container, running.spec
        image = self._launcher.image(spec["image"])
        try:
            container.process = self._launcher.start(
                running.place,
                podspec.arguments(spec, image.command),
                podspec.environment(running.pod, spec, running.place.link.address),
                ended=lambda returncode: self._ended(running, returncode),
            )
        except (OSError, NotYetError) as error:
            container.waiting = status.CANNOT_RUN
            self.spawn(self._patch(running.pod, status.waiting(running.pod, str(error))))
            return
        container.started, container.returncode = status.now(), None

    async def _until_ready(self, batch: Sequence[RunningPod]) -> None:
        waiting = {running.uid: running for running in batch}
        pause = READY_POLL_SECONDS
        while waiting:
            for uid, running in list(waiting.items()):
                if running.ended or running.container.process is None:
                    del waiting[uid]
                elif serves(running.place.link.network):
                    del waiting[uid]
                    running.container.ready = True
                    self.spawn(self.report(running))
            await asyncio.sleep(pause)
            pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)

    def _ended(self, running: RunningPod, returncode: int) -> None:
        container = running.container
        container.process, container.ready, container.returncode = None, False, returncode
        if running.ended:
            return
        policy = running.pod["spec"].get("restartPolicy", "Always")
        if policy == "Always" or (policy == "OnFailure" and returncode):
            container.waiting = status.BACKING_OFF
            self.spawn(self._restart(running))
        else:
            container.waiting = ""
        self.spawn(self.report(running))

    async def _restart(self, running: RunningPod) -> None:
        backoff = FIRST_BACKOFF_SECONDS * 2**running.container.restarts
        await asyncio.sleep(min(backoff, LONGEST_BACKOFF_SECONDS))
        if not running.ended:
            running.container.restarts += 1
            self._start_process(running)
            await self.report(running)
            await self._until_ready([running])

    async def _patch(self, pod: Manifest, document: Manifest) -> None:
        path = f"{path_of(pod, 'pods')}/status"
        # The UID keeps the patch from a new pod of the same name.
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": document}
        await insist(lambda: self._api.merge(path, patch))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            traceback.print_exception(error)
            os._exit(1)
