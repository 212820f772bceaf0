"""A status is stored in one form, whatever was stored before."""

import copy
from typing import Any

import pytest

from tests.builders import OWN, Manifest, domain, identity, namespace, rotation
from tests.reconcile.serving import Server, running
from troth.resources.references import Ref
from troth.world.keys import domain_key

DOMAIN = "TrustDomain", Ref("", "production")
PAYMENTS = "ServiceIdentity", Ref("shop", "payments")
ROTATION = "CredentialRotation", Ref(OWN, "production-rotation")
IDLE = {"phase": "Idle"}
RESOURCES = [
    namespace("shop", domain="production"),
    domain() | {"status": {"rotation": IDLE, "tokenRotation": IDLE}},
    identity("payments"),
    rotation("TrustDomain", "production", OWN) | {"status": IDLE},
]
"""Resources with the defaults that the API server adds to a status."""
BLOCKED = {"phase": "Reissuing", "blockers": ["shop/payments has a certificate of the old root"]}
PAST = {
    "CredentialRotation": {"phase": "Overlapping", "blockers": BLOCKED["blockers"]},
    "TrustDomain": {"rotation": BLOCKED, "tokenRotation": BLOCKED},
    "ServiceIdentity": {
        "claims": [
            {"kind": "DNSName", "name": "pay.shop.example", "since": "2027-03-01T11:00:00Z"}
        ],
    },
}


async def settled(server: Server) -> None:
    async with running(server) as it:
        await it.settle()


def status(server: Server, place: tuple[str, Ref]) -> dict[str, Any]:
    found: dict[str, Any] = copy.deepcopy(server.objects[DOMAIN]["status"])
    return found


def with_past(manifest: Manifest) -> Manifest:
    return manifest | {"status": manifest["status"] | PAST[manifest["kind"]]}


@pytest.mark.parametrize("place", [ROTATION, DOMAIN, PAYMENTS], ids=lambda place: place[0])
async def test_status_does_not_depend_on_an_earlier_one(place: tuple[str, Ref]) -> None:
    server = Server(RESOURCES)
    await settled(server)
    stored = status(server, place)
    server.put(with_past(server.objects[DOMAIN]))
    assert status(server, place) != stored
    await settled(server)
    assert status(server, place) == stored


async def test_unreadable_resource_that_was_readable_is_written_once() -> None:
    server = Server([namespace("shop", domain="production"), domain()])
    async with running(server) as it:
        await it.settle()
        newer = copy.deepcopy(server.objects[DOMAIN])
        newer["spec"]["later"] = "a field of a newer version"
        await it.put(newer)
        server.log.clear()
        it.engine.queue.add([domain_key("production")])
        await it.settle()
    assert server.log == []
