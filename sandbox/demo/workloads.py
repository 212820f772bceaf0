"""The shop's services as local processes that use the files of their Secrets."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from sandbox.certificates import owner_only
from sandbox.demo import service
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Place, Shop
from sandbox.processes import Tether, tail

SECONDS = 10.0
FILES = ("tls.crt", "tls.key", "ca.crt", "identity.json")
"""What is mounted; the keystores are for programs that cannot read PEM."""


class Workloads:
    """The services that run, and the files of every workload.

    Files and processes are gone when the tether is closed.
    """

    def __init__(self, tether: Tether, shop: Shop) -> None:
        self._tether = tether
        self._shop = shop
        self._addresses: dict[Place, dict[str, int]] = {}

    def files(self, place: Place) -> Path:
        """Return the directory of a workload's files."""
        return self._tether.directory / f"{place.namespace}.{place.name}"

    def mount(self, place: Place, secret: dict[str, bytes]) -> Path:
        """Write a Secret's files as the kubelet would, readable by their owner alone."""
        directory = self.files(place)
        directory.mkdir(mode=0o700)
        for name in FILES:
            if name in secret:
                with open(directory / name, "wb", opener=owner_only) as file:
                    file.write(secret[name])
        return directory

    def start(self, secrets: dict[Place, dict[str, bytes]]) -> None:
        """Mount every identity's files, and start whoever has ports; return once all listen."""
        serving = []
        for place in self._shop.identities:
            directory = self.mount(place, secrets.get(place, {}))
            if ports := self._shop.ports(place):
                self._run(place, directory, ports)
                serving.append(place)
        for place in serving:
            self._addresses[place] = self._await_addresses(place)

    def port(self, place: Place, name: str) -> int:
        """Return the loopback port on which a service's port is served."""
        return self._addresses[place][name]

    def journal(self, place: Place, caller: int) -> dict[str, Any]:
        """Return what a service noted about the connection from a caller's port."""
        deadline = time.monotonic() + SECONDS
        journal = self.files(place) / "journal"
        while time.monotonic() < deadline:
            text = journal.read_text() if journal.exists() else ""
            for line in text.splitlines(keepends=True):
                if line.endswith("\n"):
                    entry: dict[str, Any] = json.loads(line)
                    if entry["caller"] == caller:
                        return entry
            time.sleep(0.01)
        raise DemoError(f"{place} noted nothing about a connection")

    def _run(self, place: Place, directory: Path, ports: dict[str, str]) -> None:
        script = str(Path(service.__file__))
        self._tether.start(
            str(place),
            # -I -S: a service needs nothing but Python itself, and starts in no time
            [sys.executable, "-I", "-S", script, str(directory), json.dumps(ports)],
            log=self._log(place),
            env={"PATH": os.defpath},
        )

    def _log(self, place: Place) -> Path:
        return self._tether.directory / f"{place.namespace}.{place.name}.log"

    def _await_addresses(self, place: Place) -> dict[str, int]:
        deadline = time.monotonic() + SECONDS
        file = self.files(place) / "addresses.json"
        while not file.exists():
            if self._tether.poll(str(place)) is not None or time.monotonic() > deadline:
                raise DemoError(f"the service {place} did not start:\n{tail(self._log(place))}")
            time.sleep(0.01)
        addresses: dict[str, int] = json.loads(file.read_text())
        return addresses
