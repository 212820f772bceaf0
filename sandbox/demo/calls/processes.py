"""The shop's services as local processes that use the files of their Secrets."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from sandbox.certificates import owner_only
from sandbox.demo.calls import client, service
from sandbox.demo.calls.client import Attempt
from sandbox.demo.calls.table import Call
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Place, Shop
from sandbox.node.workload import Files, Outcome
from sandbox.processes import Tether, tail

SECONDS = 10.0


class LocalProcesses:
    """The services as processes, and the files of each workload.

    Closing the tether ends the processes and removes the files.
    """

    filtered = False

    def __init__(self, tether: Tether, shop: Shop) -> None:
        self._tether = tether
        self._shop = shop
        self._addresses: dict[Place, dict[str, int]] = {}
        self._numbers: Iterator[int] = count(1)

    def start(self, secrets: Mapping[Place, Files]) -> str:
        """Write each identity's files and start the services with ports; return when all listen."""
        serving = []
        for place in self._shop.identities:
            directory = self._mount(self._files(place), secrets.get(place, {}))
            if ports := self._shop.ports(place):
                plain = self._shop.plain(place)
                kinds = {port: "plain" if port in plain else "mtls" for port in ports}
                self._run(place, directory, kinds)
                serving.append(place)
        for place in serving:
            self._addresses[place] = self._await_addresses(place)
        return "local processes; each reads the files of its Secret and nothing else"

    def call(self, call: Call) -> Outcome:
        """Make a call with the files of its caller."""
        files = own = self._files(call.caller)
        if call.shows is not None:
            shown = self._tether.directory / f"shown-{next(self._numbers)}"
            files = self._mount(shown, call.shows)
        return client.call(
            Attempt(
                self._addresses[call.impostor or call.callee][call.port],
                call.mode,
                files,
                bundle=own,
                callee=call.expect if call.is_honest else "",
                scope=call.scope,
            )
        )

    def _files(self, place: Place) -> Path:
        return self._tether.directory / f"{place.namespace}.{place.name}"

    @staticmethod
    def _mount(directory: Path, files: Files) -> Path:
        """Write files as the kubelet would, readable by their owner alone."""
        directory.mkdir(mode=0o700)
        for name, text in files.items():
            with open(directory / name, "w", opener=owner_only) as file:
                file.write(text)
        return directory

    def _run(self, place: Place, directory: Path, kinds: dict[str, str]) -> None:
        script = str(Path(service.__file__))
        self._tether.start(
            str(place),
            # -I -S: a service needs nothing but Python itself, and starts in no time
            [sys.executable, "-I", "-S", script, str(directory), json.dumps(kinds)],
            log=self._log(place),
            env={"PATH": os.defpath},
        )

    def _log(self, place: Place) -> Path:
        return self._tether.directory / f"{place.namespace}.{place.name}.log"

    def _await_addresses(self, place: Place) -> dict[str, int]:
        deadline = time.monotonic() + SECONDS
        file = self._files(place) / "addresses.json"
        while not file.exists():
            if self._tether.poll(str(place)) is not None or time.monotonic() > deadline:
                raise DemoError(f"the service {place} did not start:\n{tail(self._log(place))}")
            time.sleep(0.01)
        addresses: dict[str, int] = json.loads(file.read_text())
        return addresses
