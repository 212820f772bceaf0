"""checkout, payments and ledger, as their teams would write them with `troth.edge`.

    python -m sandbox.demo.hop SETTINGS

`SETTINGS` is JSON: `name` says which of the three, `port` where to listen on loopback, `identity`
and `bundle` where its files are mounted, `services` which Service is on which port of loopback.

Each answers with what it was told of its request, and what the one after it was told.
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

from sandbox.demo import names
from troth.edge.frameworks.starlette import caller, require_scopes
from troth.edge.frameworks.uvicorn import config
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware
from troth.edge.outbound.httpx import Transport
from troth.edge.outbound.transactions import using

PAYMENTS, LEDGER = "https://payments.shop.svc:8443", "https://ledger.finance.svc:8443"
SESSIONS = {"a-session-of-alice": ("alice", "acme")}
"""Who is logged in at checkout: the user and the tenant."""


def checkout(identity: Identity) -> Starlette:
    """Where requests enter: it knows the user, and begins a transaction on the user's behalf."""
    transport = Transport(identity, {PAYMENTS: "shop/payments"})
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
            return passed_on(client.post(f"{PAYMENTS}/charge"))

    return Starlette(routes=[Route("/orders", place_order, methods=["POST"])])


def payments(identity: Identity) -> TrothMiddleware:
    """Calls the ledger with a transaction that is good for posting and for nothing else."""
    transport = Transport(identity, {LEDGER: "finance/ledger"})
    client = httpx.Client(transport=transport)

    @require_scopes("payments.charge")
    def charge(request: Request) -> Response:
        with using(transport.narrow_transaction(scopes=["ledger.post"])):
            return passed_on(client.post(f"{LEDGER}/entries"), told(request))

    return guarded(Starlette(routes=[Route("/charge", charge, methods=["POST"])]), identity)


def ledger(identity: Identity) -> TrothMiddleware:
    """The last hop."""

    @require_scopes("ledger.post")
    def post(request: Request) -> Response:
        return JSONResponse([told(request)])

    @require_scopes("ledger.read")
    def read(request: Request) -> Response:
        return JSONResponse([told(request)])

    routes = [Route("/entries", post, methods=["POST"]), Route("/entries", read)]
    return guarded(Starlette(routes=routes), identity)


def guarded(app: Starlette, identity: Identity) -> TrothMiddleware:
    """Let nobody through to an application but who may call its port `https`."""
    return TrothMiddleware(app, identity, "https")


def told(request: Request) -> dict[str, Any]:
    """Return what the application knows of a request: the caller, and the headers it gets."""
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


def passed_on(answer: httpx.Response, *before: dict[str, Any]) -> Response:
    """Return what the next hops were told, or their refusal as it is."""
    if answer.is_error:
        return Response(
            answer.content, answer.status_code, media_type=answer.headers["content-type"]
        )
    return JSONResponse([*before, *answer.json()])


SERVICES: Mapping[str, Callable[[Identity], Starlette | TrothMiddleware]]
SERVICES = {"checkout": checkout, "payments": payments, "ledger": ledger}


def main(settings: dict[str, Any]) -> None:
    """Serve until told to stop: checkout plain HTTP, as behind an ingress, the others by TLS."""
    names.know(settings["services"])
    identity = Identity(Path(settings["identity"]), Path(settings["bundle"]))
    app = SERVICES[settings["name"]](identity)
    listen = {"host": names.LOOPBACK, "port": settings["port"], "log_level": "warning"}
    front = settings["name"] == "checkout"
    server = uvicorn.Config(app, **listen) if front else config(app, identity, **listen)
    uvicorn.Server(server).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
