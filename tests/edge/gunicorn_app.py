"""Configuration file and guarded application of gunicorn."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from troth.edge.frameworks.gunicorn import settings
from troth.edge.identity.files import Identity
from troth.edge.inbound.caller import CALLER
from troth.edge.inbound.connections import timed
from troth.edge.inbound.wsgi import Environ, StartResponse, TrothMiddleware


def identity() -> Identity:
    mounts = Path(os.environ["TROTH_MOUNTS"])
    return Identity(mounts / "identity", mounts / "bundle")


def service(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Say who calls, and what headers there are."""
    caller = CALLER.get()
    start_response("200 OK", [("Content-Type", "application/json")])
    said = {
        "workload": caller.workload if caller else None,
        "scopes": sorted(caller.scopes) if caller else None,
        "forwarded_by": caller.forwarded_by if caller else None,
        "script_name": environ["SCRIPT_NAME"],
        "headers": sorted(key for key in environ if key.startswith("HTTP_")),
    }
    yield json.dumps(said).encode()


def guarded() -> TrothMiddleware:
    return TrothMiddleware(service, identity(), "https", exempt=["/healthz"])


if "TROTH_MOUNTS" in os.environ:
    globals().update(settings(identity(), os.environ["TROTH_WORKER"]))
    threads = 4
    workers = 1
    keepalive = 120
    timed.REQUEST_WITHIN = float(os.environ["TROTH_REQUEST_WITHIN"])
