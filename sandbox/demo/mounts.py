"""Secrets and ConfigMaps as files on this machine, updated on change as a kubelet does."""

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
    """A Secret or ConfigMap, and the directory of its files."""

    place: Place
    directory: Path
    is_secret: bool = True


@contextmanager
def mounted(kubeconfig: Path, mounts: Iterable[Mount]) -> Iterator[None]:
    """Write the files of all mounts, and update them while the context lasts.

    Raises `DemoError` if an object is missing for too long.
    """
    waiting = {mount: threading.Event() for mount in mounts}
    loop = asyncio.new_event_loop()
    task = loop.create_task(_follow(kubeconfig, waiting))
    thread = threading.Thread(target=_run, args=(loop, task))
    thread.start()
    try:
        for mount, written in waiting.items():
            if not written.wait(SECONDS):
                raise DemoError(
                    f"{mount.place} does not exist after {SECONDS:.0f} s, so it cannot be mounted"
                )
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    loop.run_until_complete(asyncio.wait([task]))
    loop.run_until_complete(loop.shutdown_asyncgens())
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
        if change is Change.SEEN:  # a deleted object stays mounted, as it does in a pod
            sources.keep(kind, manifest)
            directory.write(sources.payload(kind, *place, {}))
            written.set()
