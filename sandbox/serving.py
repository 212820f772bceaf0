"""Starts servers on the loopback interface and waits until they serve."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from sandbox.control_plane import free_port, on_free_ports
from sandbox.errors import ComponentError
from sandbox.processes import Tether, tail

PAUSE = 0.01
READY_SECONDS = 20.0


def await_serving(
    tether: Tether, name: str, serves: Callable[[], bool], *, log: Path, seconds: float
) -> None:
    """Wait until a process of the tether serves.

    Raises `ComponentError` with the end of its log if it ends or takes too long.
    """
    deadline = time.monotonic() + seconds
    while not serves():
        returncode = tether.poll(name)
        if returncode is not None:
            raise ComponentError(name, f"ended with {returncode} instead of serving", tail(log))
        if time.monotonic() > deadline:
            raise ComponentError(name, f"was not ready after {seconds:.0f} s", tail(log))
        time.sleep(PAUSE)


class LoopbackServer(ABC):
    """A server on one loopback port, with its files in a directory and its process in a tether."""

    name: ClassVar[str]

    def __init__(self, tether: Tether, directory: Path) -> None:
        self._tether = tether
        self._directory = directory
        self._port = 0

    @property
    def port(self) -> int:
        """Port on the loopback interface."""
        return self._port

    def start(self) -> None:
        """Start the server for the first time; raises `ComponentError` with the end of its log."""

        def start() -> None:
            self._port = free_port()
            self._configure()
            self.restart()

        on_free_ports(start)

    def restart(self) -> None:
        """Start the server again on the same port with its data."""
        log = self._directory / f"{self.name}.log"
        self._tether.start(self.name, self._command(), log=log, cwd=self._directory)
        await_serving(self._tether, self.name, self._serves, log=log, seconds=READY_SECONDS)

    def stop(self, *, grace: float = 5.0) -> None:
        """Stop the server; `grace=0` kills it, as a crash would."""
        self._tether.stop(self.name, grace=grace)

    @abstractmethod
    def _configure(self) -> None:
        """Write the configuration for the port."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the command line."""

    @abstractmethod
    def _serves(self) -> bool:
        """Return whether the server answers."""
