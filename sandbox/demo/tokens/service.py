"""checkout, payments and ledger, as their teams would write them with `troth.edge`.

    python -m sandbox.demo.tokens.service SETTINGS

`SETTINGS` is JSON: the `name` of the service, its `port` on loopback, `identity` and `bundle` where
its files are mounted, and `services`, the ports of other Services on loopback.

Each answers with what it knows of its request, followed by the answer of the next service.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.demo import cast, loopback
from troth.edge.frameworks.starlette import caller, require_scopes
from troth.edge.frameworks.uvicorn import config
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware
from troth.edge.outbound.httpx import Transport
from troth.edge.outbound.transactions import using

PAYMENTS, LEDGER = (
    f"https://{callee.name}.{callee.namespace}.svc:8443" for callee in (cast.PAYMENTS, cast.LEDGER)
)
SESSIONS = {"a-session-of-alice": ("alice", "acme")}
"""The sessions at checkout, each with its user and tenant."""


def checkout(identity: Identity) -> Starlette:
    """The entry: it knows the user and starts a transaction on the user's behalf."""
    transport = Transport(identity, {PAYMENTS: str(cast.PAYMENTS)})
    client = httpx.Client(transport=transport)

    def place_order(request: Request) -> Response:
        session = SESSIONS.get(request.cookies.get("session", ""))
        if session is None:
            return Response("log in first", 401)
        user, tenant = session
        transaction = transport.start_transaction(
            subject=user,
            tenant=tenant,
            scopes=["orders.place", "payments.charge", "ledger.post"],
            context={"channel": "web"},
        )
        with using(transaction):
            return forwarded(client.post(f"{PAYMENTS}/charge"))

    return Starlette(routes=[Route("/orders", place_order, methods=["POST"])])


def payments(identity: Identity) -> TrothMiddleware:
    """It calls ledger with a transaction narrowed to posting."""
    transport = Transport(identity, {LEDGER: str(cast.LEDGER)})
    client = httpx.Client(transport=transport)

    @require_scopes("payments.charge")
    def charge(request: Request) -> Response:
        with using(transport.narrow_transaction(scopes=["ledger.post"])):
            return forwarded(client.post(f"{LEDGER}/entries"), known(request))

    return guarded(Starlette(routes=[Route("/charge", charge, methods=["POST"])]), identity)


def ledger(identity: Identity) -> TrothMiddleware:
    """The last service."""

    @require_scopes("ledger.post")
    def post(request: Request) -> Response:
        return JSONResponse([known(request)])

    @require_scopes("ledger.read")
    def read(request: Request) -> Response:
        return JSONResponse([known(request)])

    routes = [Route("/entries", post, methods=["POST"]), Route("/entries", read)]
    return guarded(Starlette(routes=routes), identity)


def guarded(app: Starlette, identity: Identity) -> TrothMiddleware:
    """Admit only callers that the identity accepts on its port `https`."""
    return TrothMiddleware(app, identity, "https")


def known(request: Request) -> dict[str, Any]:
    """Return what the application knows of a request: its caller, transaction and headers."""
    found = caller(request)
    assert found is not None
    assert found.transaction is not None
    return {
        "caller": found.workload,
        "scopes": sorted(found.scopes),
        "subject": found.subject,
        "tenant": found.tenant,
        "request": found.request_id,
        "transaction": sorted(found.transaction.scopes),
        "headers": sorted(request.headers),
    }


def forwarded(answer: httpx.Response, *before: dict[str, Any]) -> Response:
    """Return what the next services know, or their rejection unchanged."""
    if answer.is_error:
        return Response(
            answer.content, answer.status_code, media_type=answer.headers["content-type"]
        )
    return JSONResponse([*before, *answer.json()])


SERVICES: Mapping[str, Callable[[Identity], Starlette | TrothMiddleware]]
SERVICES = {"checkout": checkout, "payments": payments, "ledger": ledger}


def main(settings: dict[str, Any]) -> None:
    """Serve until stopped: checkout over plain HTTP, as behind an ingress, the others over TLS."""
    loopback.resolve(settings["services"])
    identity = Identity(Path(settings["identity"]), Path(settings["bundle"]))
    app = SERVICES[settings["name"]](identity)
    listen = {"host": loopback.LOOPBACK, "port": settings["port"], "log_level": "warning"}
    front = settings["name"] == "checkout"
    server = uvicorn.Config(app, **listen) if front else config(app, identity, **listen)
    uvicorn.Server(server).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
