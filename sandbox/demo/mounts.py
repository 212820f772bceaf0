"""Secrets and ConfigMaps as files of this machine, replaced when they change, as a kubelet does."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Place
from sandbox.node.api import Api, Change
from sandbox.node.projection import Directory, Sources

SECONDS = 20.0


class Mount(NamedTuple):
    """An object, a Secret or else a ConfigMap, and where its keys are files."""

    place: Place
    directory: Path
    is_secret: bool = True


@contextmanager
def mounted(kubeconfig: Path, mounts: Iterable[Mount]) -> Iterator[None]:
    """Write the files of all mounts, and keep them as the objects are while the context lasts.

    Raises `DemoError` if one of the objects is not there in time.
    """
    waiting = {mount: threading.Event() for mount in mounts}
    loop = asyncio.new_event_loop()
    task = loop.create_task(_follow(kubeconfig, waiting))
    thread = threading.Thread(target=_run, args=(loop, task))
    thread.start()
    try:
        for mount, written in waiting.items():
            if not written.wait(SECONDS):
                raise DemoError(f"there is no {mount.place} to mount after {SECONDS:.0f} s")
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()


async def _follow(kubeconfig: Path, waiting: dict[Mount, threading.Event]) -> None:
    api = Api.of(kubeconfig)
    try:
        async with asyncio.TaskGroup() as tasks:
            for mount, written in waiting.items():
                tasks.create_task(_keep(api, mount, written))
    finally:
        await api.close()


async def _keep(api: Api, mount: Mount, written: threading.Event) -> None:
    kind, plural = ("secret", "secrets") if mount.is_secret else ("configmap", "configmaps")
    place, sources, directory = mount.place, Sources(), Directory(mount.directory)
    path = f"/api/v1/namespaces/{place.namespace}/{plural}"
    async for change, manifest in api.follow(path, fields=f"metadata.name={place.name}"):
        if change is Change.SEEN:  # what is deleted stays mounted, as it does in a pod
            sources.keep(kind, manifest)
            directory.write(sources.payload(kind, *place, {}))
            written.set()
