"""The target of webhooks, as its team would write it with `troth.edge`.

    python -m sandbox.demo.webhooks.target SETTINGS

`SETTINGS` is JSON: its `port`, and `identity` and `bundle` where its files are mounted. It listens
on loopback, or on the address `host` if the settings have one. It prints a line for each delivery:
the workflow that ran and what it knows of the delivery.
"""

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.demo.loopback import LOOPBACK
from troth.edge.frameworks.starlette import caller
from troth.edge.frameworks.uvicorn import config
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware

PORT = "webhooks"


async def deliver(request: Request) -> Response:
    """Run the workflow of a delivery, which here prints a line."""
    found = caller(request)
    assert found is not None
    delivery = found.delivery
    assert delivery is not None
    if not delivery.covers(await request.body()):
        return Response("the gateway verified another body", 400)
    known = {
        "workflow": delivery.workflow,
        "endpoint": delivery.endpoint,
        "delivery": delivery.delivery_id,
        "caller": found.workload,
    }
    print(json.dumps(known), flush=True)
    return Response(status_code=204)


def main(settings: dict[str, Any]) -> None:
    """Serve until stopped."""
    identity = Identity(Path(settings["identity"]), Path(settings["bundle"]))
    app = Starlette(routes=[Route("/{path:path}", deliver, methods=["POST"])])
    guarded = TrothMiddleware(app, identity, PORT)
    host = settings.get("host", LOOPBACK)
    listen = {"host": host, "port": settings["port"], "log_level": "warning"}
    uvicorn.Server(config(guarded, identity, **listen)).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
