"""Servers that judge the certificates of clients: rustls in Granian, BoringSSL in Envoy.

They answer a client with 200 if they accept its certificate, and end the handshake if they do not.
"""

import json
import socket
import ssl
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sandbox.processes import Tether
from sandbox.serving import LoopbackServer
from tests.patience import PATIENCE

LOOPBACK = "127.0.0.1"
ASKED = b"GET / HTTP/1.1\r\nHost: judge\r\nConnection: close\r\n\r\n"
APPLICATION = """
async def answer(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""


@dataclass(frozen=True)
class Svid:
    """The files of a certificate chain and of its key, as PEM."""

    chain: Path
    key: Path


class TlsServer(LoopbackServer):
    """A server that demands a client certificate below one of the roots in a file."""

    def __init__(self, tether: Tether, directory: Path, own: Svid, roots: Path) -> None:
        super().__init__(tether, directory)
        self._own, self._roots = own, roots

    @classmethod
    def program(cls) -> Path:
        """Return the server's program in this environment."""
        return Path(sys.executable).with_name(cls.name)

    @classmethod
    @contextmanager
    def serving(cls, directory: Path, own: Svid, roots: Path) -> Iterator[Self]:
        """Run the server while the context lasts; raises `ComponentError` if it does not start."""
        directory.mkdir()
        with Tether(directory) as tether:
            server = cls(tether, directory, own, roots)
            server.start()
            yield server

    def accepts(self, client: Svid) -> bool:
        """Return whether the server answers a client with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(client.chain, client.key)
        with socket.create_connection((LOOPBACK, self.port), timeout=PATIENCE) as plain:
            try:
                with context.wrap_socket(plain) as connection:
                    connection.sendall(ASKED)
                    answer = connection.recv(1024)
            except (ssl.SSLError, ConnectionError):
                return False
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return True

    def _serves(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @abstractmethod
    def _command(self) -> Sequence[str]: ...


class RustlsServer(TlsServer):
    """Granian, whose TLS is rustls."""

    name = "granian"

    def _configure(self) -> None:
        (self._directory / "judge.py").write_text(APPLICATION)

    def _command(self) -> Sequence[str]:
        settings = {
            "interface": "asgi",
            "host": LOOPBACK,
            "port": self.port,
            "ssl-certificate": self._own.chain,
            "ssl-keyfile": self._own.key,
            "ssl-ca": self._roots,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self.program()), *options, "--ssl-client-verify", "judge:answer"]


class BoringServer(TlsServer):
    """Envoy, whose TLS is BoringSSL."""

    name = "envoy"

    def _configure(self) -> None:
        configuration = {"static_resources": {"listeners": [self._listener()]}}
        (self._directory / "envoy.json").write_text(json.dumps(configuration))

    def _command(self) -> Sequence[str]:
        options = ("--config-path", "envoy.json", "--concurrency", "1", "--use-dynamic-base-id")
        return [str(self.program()), *options]

    def _listener(self) -> dict[str, Any]:
        context = {
            "require_client_certificate": True,
            "common_tls_context": {
                "tls_certificates": [
                    {
                        "certificate_chain": {"filename": str(self._own.chain)},
                        "private_key": {"filename": str(self._own.key)},
                    }
                ],
                "validation_context": {"trusted_ca": {"filename": str(self._roots)}},
            },
        }
        route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
        manager = {
            "stat_prefix": "judge",
            "route_config": {
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]
            },
            "http_filters": [
                _typed("envoy.filters.http.router", "extensions.filters.http.router.v3.Router", {})
            ],
        }
        address = {"socket_address": {"address": LOOPBACK, "port_value": self.port}}
        kind = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        transport = "extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        chain = {
            "filters": [_typed("envoy.filters.network.http_connection_manager", kind, manager)],
            "transport_socket": _typed("envoy.transport_sockets.tls", transport, context),
        }
        return {"name": "judge", "address": address, "filter_chains": [chain]}


def _typed(name: str, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return an extension's configuration: its name, and its settings as a protobuf `Any`."""
    return {
        "name": name,
        "typed_config": {"@type": f"type.googleapis.com/envoy.{kind}", **settings},
    }
