"""The target of webhooks as a process: `troth.edge` over mutual TLS, and an empty handler.

python -m benchmarks.webhooks.target DIRECTORY PORT
"""

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.harness.domain import NAME, Domain, identity, write_tls
from benchmarks.harness.servers import LOOPBACK
from benchmarks.webhooks.sender import ENDPOINT
from benchmarks.webhooks.server import GATEWAY, floor
from troth.edge.frameworks.uvicorn import config
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware
from troth.pki.bundles.spiffe_bundle import bundle_map_document
from troth.pki.keys.jwk import public_jwk

PORT, CALLEE, TARGET = "webhooks", "bench/ledger", identity("ledger")
WORKFLOW, PATH = "settle-charge", "/events"


def description(port: int) -> dict[str, Any]:
    """Return the target as in an endpoint's configuration."""
    return {
        "callee": CALLEE,
        "spiffeID": TARGET,
        "host": "localhost",
        "port": port,
        "path": PATH,
        "workflow": WORKFLOW,
    }


def write_gateways(directory: Path, domain: Domain) -> None:
    """Write the files that the gateway mounts."""
    calls = [{"name": CALLEE, "spiffeID": TARGET, "ports": [PORT]}]
    _write(directory, domain, "gateway", {"accepts": [], "calls": calls})


def write_targets(directory: Path, domain: Domain, key: ec.EllipticCurvePublicKey) -> None:
    """Write the files that the target mounts; `key` is the gateway's."""
    accepted = {"spiffeID": GATEWAY, "ports": [{"name": PORT, "scopes": []}]}
    endpoint = {"name": ENDPOINT, "path": PATH, "workflow": WORKFLOW}
    webhooks = {
        "gateway": GATEWAY,
        "issuer": GATEWAY,
        "keys": {"keys": [public_jwk(key)]},
        "port": PORT,
        "endpoints": [endpoint],
    }
    document = {"accepts": [accepted], "calls": [], "webhooks": [webhooks]}
    _write(directory, domain, "ledger", document)


def _write(directory: Path, domain: Domain, workload: str, document: dict[str, Any]) -> None:
    directory.mkdir()
    own = domain.svid(workload)
    write_tls(directory, own, domain.anchors)
    whole = {
        "version": "v1alpha1",
        "spiffeID": own.spiffe_id,
        "requires": {"context": []},
        **document,
    }
    (directory / "identity.json").write_text(json.dumps(whole))
    bundles = bundle_map_document({NAME: domain.bundle()})
    (directory / "bundle-map.json").write_text(json.dumps(bundles))


def main(directory: Path, port: int) -> None:
    """Serve until stopped."""
    own = Identity(directory, directory)
    app = TrothMiddleware(floor, own, PORT)
    settings: dict[str, Any] = {
        "host": LOOPBACK,
        "port": port,
        "log_config": None,
        "lifespan": "off",
    }
    uvicorn.Server(config(app, own, **settings, timeout_keep_alive=60)).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
