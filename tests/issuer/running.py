"""An issuer on loopback with real TLS, and clients that share no code with it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster.person import until
from tests.issuer import builders
from tests.issuer.builders import CHECKOUT, DOMAIN, NoAccounts, svid
from tests.patience import PATIENCE
from tests.pki import builders as pki
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.issuer.configuration import IssuerConfiguration
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app, utc_now
from troth.issuer.serving import LIMITS, Server
from troth.issuer.tls import IssuerTLS
from troth.pki.keys.private import private_key_pem
from troth.serving.http_server import LIFETIME

ISSUER_ID = f"spiffe://{DOMAIN}/ns/troth-system/sa/troth-issuer"


def root(which: str = "root") -> bytes:
    """Return a root of the trust domain, in PEM."""
    return b"".join(builders.root(which).authority.anchors)


def write_pair(directory: Path, name: str, spiffe_id: str, *dns_names: str, **options: Any) -> Path:
    """Write a certificate and its key as NAME.crt and NAME.key; return the certificate's file."""
    directory.mkdir(exist_ok=True)
    options.setdefault("key", spiffe_id)
    certificate = directory / f"{name}.crt"
    certificate.write_bytes(svid(spiffe_id, *dns_names, **options))
    key = private_key_pem(pki.key(which=options["key"]))
    certificate.with_suffix(".key").write_bytes(key)
    return certificate


@dataclass
class Running:
    """Issuer that serves on loopback."""

    server: Server
    files: IssuerTLS
    directory: Path
    refused: list[str] = field(default_factory=list)
    configuration: IssuerConfiguration = field(default_factory=builders.configuration)
    moment: datetime | None = None
    """Time of the issuer; None for the machine's clock."""

    @property
    def port(self) -> int:
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def curl(self, path: str, *options: str, caller: Path | None = None) -> Answer:
        """Send a request with curl, with a caller's certificate or without one."""
        shown = ["--cert", str(caller), "--key", str(caller.with_suffix(".key"))] if caller else []
        return await ran(
            *("curl", "-sS", "--max-time", "10", "--cacert", str(self.directory / "ca.crt")),
            *shown,
            *options,
            f"{self.url}{path}",
        )

    async def openssl(self, *options: str, stdin: str = "") -> Answer:
        """Connect with openssl s_client."""
        return await ran(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{self.port}"),
            *("-CAfile", str(self.directory / "ca.crt"), "-servername", "localhost"),
            *options,
            stdin=stdin,
        )


@dataclass
class Answer:
    """Exit code and output of a program."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.errors
        answer: dict[str, Any] = json.loads(self.output)
        return answer


async def ran(*command: str, stdin: str = "") -> Answer:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Answer(process.returncode, output.decode(), errors.decode())


@asynccontextmanager
async def running(
    directory: Path, *, lifetime: float = LIFETIME, limits: ConnectionLimits = LIMITS
) -> AsyncIterator[Running]:
    """Serve `builders.configuration()` until the context ends."""
    place = directory / "issuer"
    write_pair(place, "tls", ISSUER_ID, "localhost")
    (place / "ca.crt").write_bytes(root())
    files = IssuerTLS(place)
    held: list[Running] = []
    application = app(
        lambda: held[0].configuration,
        NoAccounts(),
        Decisions(),
        lambda: held[0].moment or utc_now(),
    )
    refused: list[str] = []
    server = Server(
        application,
        files,
        "127.0.0.1",
        0,
        lifetime=lifetime,
        limits=limits,
        on_refused=refused.append,
    )
    held.append(Running(server, files, place, refused))
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    try:
        await until(started, bool)
        yield held[0]
    finally:
        server.stop()
        await task


def caller(
    directory: Path, spiffe_id: str = CHECKOUT, name: str = "caller", **options: Any
) -> Path:
    """Write a caller's certificate and key; return the certificate's file."""
    return write_pair(directory / "callers", name, spiffe_id, **options)


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return read
