"""Programs started as if in a container: a network and a root directory of their own.

No mount is made for it: the root is a directory with the image's files linked into it.
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
    """Where a program runs."""

    name: str
    link: Link
    directory: Path

    @property
    def root(self) -> Path:
        """What the program sees as `/`."""
        return self.directory / "root"

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / "log"


class Launcher:
    """Makes places, starts programs there, and clears them away."""

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
        """Make a place; it has no network before it is connected."""
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
        """Start a program; raises `OSError` if it is not to be had there."""

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
        """End a program; `ended` is called as ever."""
        self._children.kill(process)

    def clear(self, places: Sequence[Place]) -> None:
        """Take places away; what ran there must have been killed.

        The kernel takes a link away with its namespace, many at a time; one by one it is slow.
        """
        for place in places:
            place.link.network.close()
            shutil.rmtree(place.directory, ignore_errors=True)

    def _copied(self, image: Image) -> Image:
        # Hard links need the same file system, and the cache may be on another.
        programs = {}
        for path, program in image.programs.items():
            copy = self._directory / "images" / program.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(program, copy)
            programs[path] = copy
        return replace(image, programs=programs)
