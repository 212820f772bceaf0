"""Machines outside the cluster: no Pod, no labels, only an address."""

import asyncio
from collections.abc import Sequence

from sandbox.errors import SandboxError
from sandbox.node.channel import serves
from sandbox.node.images import Image
from sandbox.node.launch import Launcher, Place
from sandbox.node.namespaces import NetworkNamespace

READY_SECONDS = 10.0
POLL_SECONDS = 0.005


class Outsiders:
    """Workloads that exchange traffic with the pods through the node."""

    def __init__(self, launcher: Launcher, image: Image) -> None:
        self._launcher = launcher
        self._image = image
        self._places: dict[str, Place] = {}

    def network_of(self, name: str) -> NetworkNamespace | None:
        """Return the network namespace of an outsider, `None` if none has that name."""
        place = self._places.get(name)
        return place.link.network if place else None

    async def add(self, name: str, address: str, arguments: Sequence[str]) -> None:
        """Start an outsider and return when it serves."""
        if name in self._places:
            raise SandboxError(f"there is an outsider {name} already")
        place = self._launcher.place(name, address, self._image)
        self._launcher.connect([place])
        ends: list[int] = []
        argv = [*self._image.command, *arguments]
        self._launcher.start(place, argv, {"PATH": "/"}, ends.append)
        async with asyncio.timeout(READY_SECONDS):
            while not serves(place.link.network):
                if ends:
                    raise SandboxError(f"the outsider {name} ended: {place.log.read_text()}")
                await asyncio.sleep(POLL_SECONDS)
        self._places[name] = place
