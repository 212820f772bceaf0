"""The issuer's server as a process, with the issuer or the floor behind it.

    python -m benchmarks.tokens.server troth|floor DIRECTORY PORT CORE

The floor signs the same claims and answers as many bytes. It reads no certificate, no form and no
configuration, and logs nothing.
"""

import asyncio
import json
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.harness.cores import stay
from benchmarks.tokens.es256 import signed
from troth.issuer.configuration import read_configuration
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.issuer.errors import unavailable
from troth.issuer.service_accounts.token_review import Account
from troth.issuer.serving import Server
from troth.issuer.tls import IssuerTLS
from troth.pki.keys.private import load_private_key
from troth.serving.logs import LogFormat, configure

TROTH, FLOOR = "troth", "floor"
SECRET, KEY, ANSWER = "secret.json", "token.key", "answer.json"
"""Files: the issuer's Secret; the floor's key and one answer of the issuer."""


class NoApiServer:
    """An API server that is not used."""

    async def account(self, token: str, audience: str, peer: Hashable) -> Account:
        """Raise an error."""
        del token, audience, peer
        raise unavailable("there is no API server here")


def issuer(directory: Path) -> ASGIApp:
    """Return the issuer as `troth issue` runs it, with a Secret from a file."""
    configure(LogFormat.JSON, "info", direct=True)
    configuration = read_configuration(json.loads((directory / SECRET).read_text()))
    return app(lambda: configuration, NoApiServer(), Decisions())


def floor(directory: Path) -> ASGIApp:
    """Return an application that signs the claims of one answer for each request."""
    key = load_private_key((directory / KEY).read_bytes())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    answer = json.loads((directory / ANSWER).read_text())
    before, _, after = json.dumps(answer).encode().partition(answer["access_token"].encode())
    data, _, _ = answer["access_token"].encode().rpartition(b".")

    async def sign(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        while (await receive()).get("more_body"):
            pass
        body = before + signed(data, key) + after
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return sign


def main(which: str, place: str, port: str, core: str) -> None:
    """Serve until SIGTERM, on one core if the machine allows it."""
    stay(int(core))
    directory = Path(place)
    made: Any = {TROTH: issuer, FLOOR: floor}[which](directory)
    asyncio.run(Server(made, IssuerTLS(directory), "127.0.0.1", int(port)).serve())


if __name__ == "__main__":
    main(*sys.argv[1:])
