"""Keys that take long to generate delay no other reconcile."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.builders import Manifest, accept, call, domain, identity, namespace
from tests.patience import PATIENCE
from tests.pki import builders as pki
from tests.reconcile.serving import Running, Server, running
from troth.pki.keys.parsing import PrivateKey
from troth.reconcile.apply.key_maker import SLOW
from troth.reconcile.loop import engine as engines
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref

SHOP = [namespace("shop", domain="production"), domain()]
RSA = {"mtls": {"keyAlgorithm": "RSA-4096"}}
IDENTITY = "ServiceIdentity", Ref("shop", "slow")
SECRET = "Secret", Ref("shop", "slow-identity")


class Gate:
    """Holds the generation of keys back until it opens."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.generated = 0

    def generate(self, algorithm: KeyAlgorithm) -> PrivateKey:
        if algorithm in SLOW:
            assert self.open.wait(PATIENCE)
            self.generated += 1
        return pki.key(algorithm)


@asynccontextmanager
async def gated(*declared: Manifest) -> AsyncIterator[tuple[Running, Server, Gate]]:
    server, gate = Server([*SHOP, *declared]), Gate()
    async with running(server, due=True) as it:
        it.engine._key_maker._generate = gate.generate
        try:
            yield it, server, gate
        finally:
            gate.open.set()
            await it.engine.close()


async def wrote(server: Server, place: tuple[str, Ref]) -> None:
    async with asyncio.timeout(PATIENCE):
        while place not in server.log:  # noqa: ASYNC110 - the server notifies nobody
            await asyncio.sleep(0.001)


async def test_slow_key_costs_three_writes() -> None:
    async with gated() as (it, server, gate):
        gate.open.set()
        await it.settle()
        server.log.clear()
        await it.put(identity("slow", authentication=RSA))
        kinds = sorted(kind for kind, _ in server.log)
        assert kinds == ["NetworkPolicy", "Secret", "ServiceIdentity"]
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert gate.generated == 1


async def test_identities_that_wait_for_keys_block_no_worker() -> None:
    """One worker reconciles everything here."""
    fleet = [identity(f"slow-{number}", authentication=RSA) for number in range(20)]
    async with gated(*fleet) as (it, server, gate):
        await wrote(server, ("NetworkPolicy", Ref("shop", "slow-19-troth")))
        it.engine.observe(server.put(identity("quick")))
        await wrote(server, ("ServiceIdentity", Ref("shop", "quick")))
        assert not [
            place for place in server.log if "slow" in place[1].name and place[0] == "Secret"
        ]
        gate.open.set()
        await it.settle()
        for number in range(20):
            found = server.condition("ServiceIdentity", Ref("shop", f"slow-{number}"), "Ready")
            assert found["status"] == "True"


async def test_edge_is_closed_while_a_key_is_generated() -> None:
    calls = [call("payments")]
    slow = identity("slow", authentication=RSA, calls=calls)
    async with gated(identity("payments", ports=["https"], accepts=[accept("slow")]), slow) as (
        it,
        server,
        _,
    ):
        policy = "NetworkPolicy", Ref("shop", "slow-troth")
        await wrote(server, policy)
        server.log.clear()
        it.engine.observe(server.put(identity("slow", authentication=RSA)))
        await wrote(server, policy)
        assert len(server.objects[policy]["spec"]["egress"]) == 1  # DNS


async def test_status_says_what_a_long_wait_is_for() -> None:
    async with gated(identity("slow", authentication=RSA)) as (it, server, gate):
        await wrote(server, ("NetworkPolicy", Ref("shop", "slow-troth")))
        assert IDENTITY not in server.log
        while IDENTITY not in server.log:
            await it.clock.move_to(it.clock.now() + engines.KEY_WAIT)
            await asyncio.sleep(0.01)
        said = server.condition(*IDENTITY, "CertificateIssued")
        assert (said["status"], said["reason"], said["message"]) == (
            "False",
            "Issuing",
            "a certificate is being issued",
        )
        gate.open.set()
        await it.settle()
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_deleted_identity_takes_no_key() -> None:
    async with gated(identity("slow", authentication=RSA)) as (it, server, gate):
        await wrote(server, ("NetworkPolicy", Ref("shop", "slow-troth")))
        gone = server.take_away(*IDENTITY)
        it.engine.forget(*IDENTITY, int(gone["metadata"]["resourceVersion"]))
        gate.open.set()
        await it.settle()
        assert SECRET not in server.log
        assert not it.engine._key_maker._requests
