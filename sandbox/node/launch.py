"""Programs that run as if in a container, with their own network and root directory.

No mount is necessary: the root is a directory with hard links to the image's files.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from sandbox.node.children import Children
from sandbox.node.host import Host, Link
from sandbox.node.images import Image
from sandbox.node.namespaces import NetworkNamespace, own_hostname
from sandbox.node.podspec import NotYetError


@dataclass(frozen=True, slots=True)
class Place:
    """Root directory, log and network link of a program."""

    name: str
    link: Link
    directory: Path

    @property
    def root(self) -> Path:
        """Root directory of the program."""
        return self.directory / "root"

    @property
    def log(self) -> Path:
        """File with the program's output."""
        return self.directory / "log"


class Launcher:
    """Creates places, starts programs in them, and removes them."""

    def __init__(
        self, host: Host, children: Children, directory: Path, images: Sequence[Image]
    ) -> None:
        self._host = host
        self._children = children
        self._directory = directory
        self._numbers = count(1)
        self._images = {image.name: self._copied(image) for image in images}

    def image(self, name: str) -> Image:
        """Return the image of that name; raises `NotYetError` if there is none."""
        if name not in self._images:
            raise NotYetError(
                f"process pods have no image {name}; they have {', '.join(self._images)}"
            )
        return self._images[name]

    def place(self, name: str, address: str, image: Image) -> Place:
        """Create a place; `connect` adds its network."""
        number = next(self._numbers)
        link = Link(NetworkNamespace.create(), address, f"veth{number}")
        place = Place(name, link, self._directory / str(number))
        place.root.mkdir(parents=True)
        image.link_into(place.root)
        return place

    def connect(self, places: Sequence[Place]) -> None:
        """Give places their addresses."""
        self._host.connect([place.link for place in places])

    def start(
        self,
        place: Place,
        argv: Sequence[str],
        env: Mapping[str, str],
        ended: Callable[[int], None],
    ) -> int:
        """Start a program; raises `OSError` if it cannot be run."""

        def enter() -> None:
            own_hostname(place.name)
            os.chroot(place.root)
            os.chdir("/")

        return self._children.start(
            argv,
            log=place.log,
            ended=ended,
            network=place.link.network,
            env=env,
            before_exec=enter,
        )

    def kill(self, process: int) -> None:
        """Kill a program; `ended` is called as usual."""
        self._children.kill(process)

    def clear(self, places: Sequence[Place]) -> None:
        """Remove places whose programs have been killed.

        The kernel removes a link with its namespace, many at a time; removing each is slow.
        """
        for place in places:
            place.link.network.close()
            shutil.rmtree(place.directory, ignore_errors=True)

    def _copied(self, image: Image) -> Image:
        # Hard links require one file system, and the cache may be on another.
        programs = {}
        for path, program in image.programs.items():
            copy = self._directory / "images" / program.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(program, copy)
            programs[path] = copy
        return replace(image, programs=programs)
