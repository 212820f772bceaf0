"""From a sender to an application behind `troth.edge`, over real connections.

The gateway verifies, the middleware believes the gateway and nobody else, and the application
reads what came.
"""

import hmac
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from tests.edge import shop
from tests.edge.inbound.test_delivery import entry
from tests.edge.mounts import accepted
from tests.edge.serving import uvicorn_serving
from tests.pki.forged_tokens import forged, part
from tests.webhooks.gateway.attacks.test_senders import FORGED
from tests.webhooks.gateway.running import (
    BODY,
    GATEWAY,
    LEDGER,
    SIGNING_KEY,
    STRANGER,
    running_gateway,
    target,
    write_identity,
)
from tests.webhooks.gateway.test_app import last_log_line
from troth.edge.frameworks.starlette import caller
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.delivery import Delivery
from troth.pki.encodings import base64url
from troth.pki.keys.jwk import key_id, public_jwk

PORT = "webhooks"


@dataclass
class Application:
    """A service as its team would write it; it notes who called, and with what."""

    callers: list[Caller | None] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    covered: list[bool] = field(default_factory=list)

    async def settle(self, request: Request) -> Response:
        found = caller(request)
        assert found is not None
        assert found.delivery is not None
        self.callers.append(found)
        self.headers.append(dict(request.headers))
        self.covered.append(found.delivery.covers(await request.body()))
        return Response(status_code=204)


@contextmanager
def behind_middleware(tmp: Path) -> Iterator[tuple[int, Application]]:
    """Serve the target with its mounted files; yields its port, and the application."""
    document = {
        "version": "v1alpha1",
        "spiffeID": LEDGER,
        # Troth accepts nobody else on such a port; were it so, it must not matter
        "accepts": [accepted(each, ports=(PORT,)) for each in (GATEWAY, STRANGER)],
        "calls": [],
        "requires": {"context": []},
        "webhooks": [entry(GATEWAY, key=SIGNING_KEY)],
    }
    shop.write_identity(tmp / "target", document, "ledger")
    write_identity(tmp)  # the gateway's, and the bundle
    identity, application = Identity(tmp / "target", tmp / "bundle"), Application()
    app = Starlette(routes=[Route("/{path:path}", application.settle, methods=["POST"])])
    with uvicorn_serving(TrothMiddleware(app, identity, PORT), identity) as port:
        yield port, application


async def test_application_sees_only_verified_facts(
    tmp_path: Path,
) -> None:
    with behind_middleware(tmp_path) as (port, application):
        async with running_gateway(tmp_path, target=target(port)) as at:
            sent = at.sender.signed(name="msg_1")
            fields = [each.partition(b": ") for each in FORGED if not each.startswith(b"Conn")]
            claimed = tuple((name.lower(), value) for name, _, value in fields)
            with capture_logs() as logs:
                sent = replace(sent, headers=(*sent.headers, *claimed))
                assert (await at.sender.send(sent)).status == 200
    (found,), (headers,) = application.callers, application.headers
    assert found == Caller(
        GATEWAY,
        frozenset(),
        delivery=Delivery(
            endpoint="shop/stripe",
            workflow="settle-charge",
            scheme="StandardWebhooks",
            key_id="k1",
            delivery_id="msg_1",
            body_sha256=sha256(BODY).digest(),
            txn=last_log_line(logs)["txn"],
        ),
    )
    assert (found.transaction, found.subject, found.tenant, found.trace) == (None,) * 4
    assert application.covered == [True]
    assert {
        name for name, value in claimed if headers.get(name.decode()) == value.decode()
    } == set()
    assert set(headers) == {"host", "content-type", "content-length", "user-agent", "x-request-id"}


# Who has the gateway's certificate and not its key, or a token of another's

KID = key_id(SIGNING_KEY.public_key())
STRANGERS = ec.generate_private_key(ec.SECP256R1())
PEM = SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": GATEWAY,
        "aud": LEDGER,
        "iat": now,
        "exp": now + 60,
        "txn": str(uuid4()),
        "sub": "webhook:shop/stripe",
        "scope": "",
        "req_wl": GATEWAY,
        "tctx": {"endpoint": "shop/stripe", "workflow": "settle-charge", "scheme": "Stripe"},
        "rctx": {"key_id": "k1", "body_sha256": base64url.encode(bytes(32))},
    } | changed


def header(**changed: Any) -> dict[str, Any]:
    return {"alg": "ES256", "kid": KID, "typ": "txntoken+jwt"} | changed


def by_hand(said: dict[str, Any] | None = None, **more: Any) -> str:
    return forged(header(**more), said or claims(), key=SIGNING_KEY)


def keyed_hash() -> str:
    text = f"{part(header(alg='HS256'))}.{part(claims())}"
    return f"{text}.{part(hmac.digest(PEM, text.encode(), 'sha256'))}"


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: f"{part(header(alg='none'))}.{part(claims())}.",
    "HS256 with the public key": keyed_hash,
    "a stranger's key under its kid": lambda: forged(header(), claims(), key=STRANGERS),
    "a stranger's key in jwk": lambda: forged(
        header(jwk=public_jwk(STRANGERS.public_key())), claims(), key=STRANGERS
    ),
    "jku": lambda: by_hand(jku="https://attacker.example/jwks"),
    "x5u": lambda: by_hand(x5u="https://attacker.example/x5u"),
    "a kid that is a path": lambda: by_hand(kid="../../dev/null"),
    "for another workload": lambda: by_hand(claims(aud=STRANGER)),
    "of another gateway": lambda: by_hand(claims(iss=STRANGER)),
    "expired": lambda: by_hand(claims(iat=int(time.time()) - 600, exp=int(time.time()) - 540)),
    "for an endpoint that does not lead here": lambda: by_hand(
        claims(
            sub="webhook:shop/other",
            tctx={"endpoint": "shop/other", "workflow": "settle-charge", "scheme": "Stripe"},
        )
    ),
    "none at all": str,
}


async def test_forged_token_is_rejected_from_any_caller(tmp_path: Path) -> None:
    with behind_middleware(tmp_path) as (port, application):
        files = tmp_path / "identity"
        context = ssl.create_default_context(cafile=str(files / "ca.crt"))
        context.load_cert_chain(files / "tls.crt", files / "tls.key")
        url = f"https://localhost:{port}/events/stripe"
        async with aiohttp.ClientSession() as session:

            async def status(token: str) -> int:
                sent = {"Txn-Token": token} if token else {}
                async with session.post(url, ssl=context, headers=sent) as response:
                    return response.status

            assert await status(by_hand()) == 204, "what the forgeries begin with"
            found = {name: await status(make()) for name, make in FORGERIES.items()}
    assert found == dict.fromkeys(FORGERIES, 403)
    assert len(application.callers) == 1


@pytest.mark.parametrize("shown", [True, False], ids=["another's certificate", "none"])
async def test_valid_token_is_rejected_without_the_gateways_certificate(
    tmp_path: Path, shown: bool
) -> None:
    with behind_middleware(tmp_path) as (port, application):
        files = tmp_path / "stranger"
        shop.write_identity(files, {"spiffeID": STRANGER}, "stranger")
        context = ssl.create_default_context(cafile=str(files / "ca.crt"))
        if shown:
            context.load_cert_chain(files / "tls.crt", files / "tls.key")
        url = f"https://localhost:{port}/events/stripe"
        async with aiohttp.ClientSession() as session:
            try:
                sent = {"Txn-Token": by_hand()}
                async with session.post(url, ssl=context, headers=sent) as response:
                    assert response.status == 403
            except aiohttp.ClientError:
                assert not shown, "TLS itself refuses who shows nothing"
    assert application.callers == []
