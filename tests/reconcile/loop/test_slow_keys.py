"""Keys that take long to generate delay no other reconcile."""

import asyncio
import base64
import copy
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import OWN, Manifest, accept, call, domain, identity, namespace
from tests.patience import PATIENCE
from tests.pki import builders as pki
from tests.reconcile.serving import Running, Server, running
from troth.cluster.errors import ApiError
from troth.pki.bundles.keystores import (
    keystore_matches,
    pkcs12_truststore,
    truststore_fingerprints,
)
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.pki.keys.parsing import PrivateKey
from troth.planning.certificates.anchors import roots_in
from troth.reconcile.drift.backoff import FREE, MOST, QUIET
from troth.reconcile.loop import engine as engines
from troth.resources.algorithms import SLOW, KeyAlgorithm
from troth.resources.references import Ref
from troth.world.facts.objects import KEYSTORE_DIGEST
from troth.world.observation.objects import OWN_ROOTS, keystore_digest

SHOP = [namespace("shop", domain="production"), domain()]
PARTNERS = [
    domain(federatesWith=[{"name": "partner"}]),
    domain("partner", federatesWith=[{"name": "production"}]),
]
RSA = {"mtls": {"keyAlgorithm": "RSA-4096"}}
IDENTITY = "ServiceIdentity", Ref("shop", "slow")
SECRET = "Secret", Ref("shop", "slow-identity")
POLICY = "NetworkPolicy", Ref("shop", "slow-troth")
CALLER = identity("web", calls=[call("slow", "https", "admin", scopes=["read", "write"])])


def accepting(*ports: str, **changes: Any) -> Manifest:
    """Return an identity with an RSA key that accepts `web`."""
    return identity("slow", **wide(*ports, **changes), authentication=RSA)


def wide(*ports: str, **changes: Any) -> dict[str, Any]:
    entry = {"scopes": ["read", "write"], "forwards": ["ClientCertificate"]} | changes
    return {
        "ports": ["https", ("admin", 9443)],
        "accepts": [accept("web", *(ports or ("https", "admin")), **entry)],
    }


NARROWER = [
    pytest.param(accepting(scopes=["read"]), id="scope"),
    pytest.param(accepting(forwards=[]), id="forwards"),
    pytest.param(accepting("https"), id="port"),
]


class Gate:
    """Holds the generation of keys back until it opens."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.generated = 0
        self.failures: list[Exception] = []
        """What the next generations raise."""

    def generate(self, algorithm: KeyAlgorithm) -> PrivateKey:
        if algorithm in SLOW:
            assert self.open.wait(PATIENCE)
            if self.failures:
                raise self.failures.pop(0)
            self.generated += 1
        return pki.key(algorithm)


async def nothing() -> None:
    pass


class Pausing(Server):
    """Lets a test act before the next NetworkPolicy is written."""

    before_policy: Callable[[], Awaitable[None]] = staticmethod(nothing)

    async def apply(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] == "NetworkPolicy":
            act, self.before_policy = self.before_policy, nothing
            await act()
        return await super().apply(manifest)


@asynccontextmanager
async def gated(*declared: Manifest) -> AsyncIterator[tuple[Running, Pausing, Gate]]:
    server, gate = Pausing([*SHOP, *declared]), Gate()
    async with running(server, due=True) as it:
        it.engine.key_maker._generate = gate.generate
        try:
            yield it, server, gate
        finally:
            gate.open.set()
            await it.engine.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - the server notifies nobody
            await asyncio.sleep(0.001)


async def wrote(server: Server, place: tuple[str, Ref]) -> None:
    await until(lambda: place in server.log)


def granted(server: Server) -> set[tuple[str, str]]:
    """Return the scopes and the forwarded context that the document grants, by port."""
    text = base64.b64decode(server.objects[SECRET]["data"]["identity.json"])
    return {
        (port["name"], right)
        for entry in json.loads(text)["accepts"]
        for port in entry["ports"]
        for right in (*port["scopes"], *port.get("forwards", []))
    }


def trusted(server: Server) -> frozenset[str]:
    return roots_in(base64.b64decode(server.objects[SECRET]["data"]["ca.crt"]).decode())


def lose_policy(it: Running, server: Server) -> None:
    """Delete the NetworkPolicy, which begins another reconcile."""
    gone = server.take_away(*POLICY)
    it.engine.forget(*POLICY, int(gone["metadata"]["resourceVersion"]))


def break_leaf(it: Running, server: Server) -> Manifest:
    """Replace the leaf as another client would; return the Secret."""
    broken = copy.deepcopy(server.objects[SECRET])
    broken["data"]["tls.crt"] = base64.b64encode(b"nothing").decode()
    it.engine.observe(server.put(broken))
    return broken


def leaf(server: Server) -> str:
    found: str = server.objects[SECRET]["data"]["tls.crt"]
    return found


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
        assert not it.engine.key_maker._requests


@pytest.mark.parametrize("narrower", NARROWER)
@pytest.mark.parametrize("requested", [True, False], ids=["requested", "not requested"])
async def test_document_is_narrowed_before_the_key_exists(
    narrower: Manifest, *, requested: bool
) -> None:
    async with gated(identity("slow", **wide()), CALLER) as (it, server, gate):
        await it.settle()
        before, old = granted(server), leaf(server)
        if requested:
            it.engine.observe(server.put(accepting()))
            await until(lambda: bool(it.engine.key_maker._requests))
        it.engine.observe(server.put(narrower))
        await until(lambda: granted(server) < before)
        narrowed = granted(server)
        assert leaf(server) == old
        gate.open.set()
        await it.settle()
        assert granted(server) == narrowed
        assert leaf(server) != old
        assert gate.generated == 1
        assert "Repaired" not in server.reasons()
        assert "Reissued" in server.reasons()
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_root_is_removed_before_the_key_exists() -> None:
    async with gated(*PARTNERS, identity("slow")) as (it, server, gate):
        await it.settle()
        both, old = trusted(server), leaf(server)
        it.engine.observe(server.put(identity("slow", authentication=RSA)))
        await until(lambda: bool(it.engine.key_maker._requests))
        it.engine.observe(server.put(domain()))
        await until(lambda: len(trusted(server)) == 1)
        assert len(both) == 2
        assert leaf(server) == old
        gate.open.set()
        await it.settle()
        assert len(trusted(server)) == 1


def keystores(algorithm: str = "RSA-4096", **changes: Any) -> Manifest:
    mtls = {"keyAlgorithm": algorithm, "keystores": ["PKCS12"], **changes}
    return identity("slow", authentication={"mtls": mtls})


def in_truststore(server: Server) -> frozenset[str] | None:
    """Return the certificates that a Java program trusts."""
    data = {name: base64.b64decode(it) for name, it in server.objects[SECRET]["data"].items()}
    assert keystore_matches(
        data["keystore.p12"], data["keystore-password"].decode(), data["tls.crt"]
    )
    return truststore_fingerprints(data["truststore.p12"], data["keystore-password"].decode())


def own_root(server: Server) -> frozenset[str]:
    """Return the plain root of the identity's own trust domain."""
    root = server.objects["Secret", Ref(OWN, "production-authority")]["data"]["plain.crt"]
    return frozenset(parse_bundle(base64.b64decode(root).decode()))


async def test_removed_root_leaves_the_keystores_current_before_the_key_exists() -> None:
    async with gated(*PARTNERS, keystores()) as (it, server, gate):
        gate.open.set()
        await it.settle()
        both, old = trusted(server), leaf(server)
        assert len(both) == 2
        assert in_truststore(server) == own_root(server)
        gate.open.clear()
        it.engine.observe(server.put(keystores(lifetime="12h")))
        await until(lambda: bool(it.engine.key_maker._requests))
        it.engine.observe(server.put(domain()))
        await until(lambda: len(trusted(server)) == 1)
        assert in_truststore(server) == own_root(server)
        assert leaf(server) == old
        gate.open.set()
        await it.settle()
        assert leaf(server) != old
        assert trusted(server) < both
        assert in_truststore(server) == own_root(server)
        assert "Repaired" not in server.reasons()


@pytest.mark.parametrize("algorithm", ["RSA-4096", "ECDSA-P256"])
async def test_changed_roots_keep_the_keystores_current_without_a_new_leaf(algorithm: str) -> None:
    async with gated(*PARTNERS, keystores(algorithm)) as (it, server, gate):
        gate.open.set()
        await it.settle()
        old, generated = leaf(server), gate.generated
        for declared, count in ((domain(), 1), (PARTNERS[0], 2)):
            server.log.clear()
            await it.put(declared)
            assert in_truststore(server) == own_root(server)
            assert len(trusted(server)) == count
            assert server.log.count(SECRET) == 1
        assert (leaf(server), gate.generated) == (old, generated)
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_truststore_that_was_changed_is_replaced_with_its_leaf() -> None:
    """Its digest is not renewed by a change of the roots, because the file may hold anything."""
    async with gated(*PARTNERS, keystores()) as (it, server, gate):
        gate.open.set()
        await it.settle()
        old = leaf(server)
        gate.open.clear()
        forged = copy.deepcopy(server.objects[SECRET])
        forged["data"]["truststore.p12"] = base64.b64encode(b"anything").decode()
        it.engine.observe(server.put(forged))
        it.engine.observe(server.put(domain()))
        await until(lambda: len(trusted(server)) == 1)
        await until(lambda: bool(it.engine.key_maker._requests))
        assert server.objects[SECRET]["data"]["truststore.p12"] == forged["data"]["truststore.p12"]
        gate.open.set()
        await it.settle()
        assert leaf(server) != old
        assert in_truststore(server) == own_root(server)


async def test_truststore_of_an_older_version_loses_federated_roots_without_a_new_leaf() -> None:
    """`ca.crt` stays the same, so only the form of the digest shows what made the truststore."""
    async with gated(*PARTNERS, keystores("ECDSA-P256")) as (it, server, _):
        await it.settle()
        old, stored = leaf(server), copy.deepcopy(server.objects[SECRET])
        data = {name: base64.b64decode(text) for name, text in stored["data"].items()}
        roots = [data["ca.crt"]]
        data["truststore.p12"] = pkcs12_truststore(roots, data["keystore-password"].decode())
        stored["data"]["truststore.p12"] = base64.b64encode(data["truststore.p12"]).decode()
        digest = keystore_digest(data).removeprefix(OWN_ROOTS)
        stored["metadata"]["annotations"][KEYSTORE_DIGEST] = digest
        server.log.clear()
        await it.put(stored)
        assert in_truststore(server) == own_root(server)
        assert leaf(server) == old
        assert server.log.count(SECRET) == 1
        assert server.objects[SECRET]["data"]["ca.crt"] == stored["data"]["ca.crt"]


async def test_secret_that_changes_before_its_truststore_is_written_is_planned_again() -> None:
    async with gated(*PARTNERS, keystores()) as (it, server, gate):
        gate.open.set()
        await it.settle()
        read = server.get

        async def changed_first(kind: str, ref: Ref) -> Manifest:
            server.get = read  # type: ignore[method-assign]
            it.engine.observe(server.put(copy.deepcopy(server.objects[kind, ref])))
            return await read(kind, ref)

        server.get = changed_first  # type: ignore[method-assign]
        await it.put(domain())
        assert server.get == read
        await until(lambda: len(trusted(server)) == 1)
        assert in_truststore(server) == own_root(server)


async def test_document_beside_an_unreadable_leaf_is_narrowed_before_the_key_exists() -> None:
    async with gated(accepting(), CALLER) as (it, server, gate):
        gate.open.set()
        await it.settle()
        gate.open.clear()
        before = granted(server)
        broken = break_leaf(it, server)
        await until(lambda: bool(it.engine.key_maker._requests))
        it.engine.observe(server.put(accepting(scopes=["read"])))
        await until(lambda: granted(server) < before)
        assert leaf(server) == broken["data"]["tls.crt"]
        gate.open.set()
        await it.settle()
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_key_that_comes_into_being_during_a_reconcile_is_taken() -> None:
    async with gated(identity("slow", authentication=RSA)) as (it, server, gate):
        await wrote(server, POLICY)
        await until(lambda: bool(it.engine.queue._held))
        [request] = it.engine.key_maker._requests.values()

        async def key_comes() -> None:
            gate.open.set()
            await until(lambda: request.made is not None)
            await asyncio.sleep(0)  # the engine hears of it

        server.before_policy = key_comes
        lose_policy(it, server)
        await it.settle()
        assert SECRET in server.log
        assert gate.generated == 1
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_narrowing_during_a_reconcile_that_waits_for_a_key_is_written() -> None:
    async with gated(identity("slow", **wide()), CALLER) as (it, server, gate):
        await it.settle()
        before = granted(server)

        async def narrow() -> None:
            it.engine.observe(server.put(accepting(scopes=["read"])))

        server.before_policy = narrow
        lose_policy(it, server)
        it.engine.observe(server.put(accepting()))
        await until(lambda: granted(server) < before)
        gate.open.set()
        await it.settle()
        assert gate.generated == 1
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_algorithm_that_changes_during_a_reconcile_that_waits_for_a_key_is_used() -> None:
    async with gated(identity("slow")) as (it, server, gate):
        await it.settle()
        old = leaf(server)
        fast = {"mtls": {"keyAlgorithm": "Ed25519"}}

        async def change() -> None:
            it.engine.observe(server.put(identity("slow", authentication=fast)))

        server.before_policy = change
        lose_policy(it, server)
        it.engine.observe(server.put(identity("slow", authentication=RSA)))
        await it.settle()
        assert leaf(server) != old
        assert gate.generated == 0
        assert not it.engine.key_maker._requests


async def test_failed_generation_is_reported_and_repeated() -> None:
    async with gated() as (it, server, gate):
        await it.settle()
        gate.failures.append(MemoryError("unseen"))
        gate.open.set()
        it.engine.observe(server.put(identity("slow", authentication=RSA)))
        await until(lambda: IDENTITY in server.log)
        said = server.condition(*IDENTITY, "Ready")
        assert said["status"] == "False"
        assert "MemoryError" in said["message"]
        assert "unseen" not in str(server.objects[IDENTITY])
        await until(lambda: server.condition(*IDENTITY, "Ready")["status"] == "True")
        assert gate.generated == 1


async def test_contested_secret_that_waits_for_a_key_is_not_reconciled_all_the_time() -> None:
    async with gated(identity("slow", authentication=RSA)) as (it, server, gate):
        gate.open.set()
        await it.settle()
        for _ in range(FREE + 2):
            break_leaf(it, server)
            await it.settle()
            await it.live(timedelta(seconds=MOST))
        assert SECRET in it.engine.world.contested
        gate.open.clear()
        break_leaf(it, server)
        await until(lambda: bool(it.engine.key_maker._requests))
        visits: list[str] = []
        it.engine._instrumentation.visited = lambda kind, *_: visits.append(kind)
        await it.clock.move_to(it.clock.now() + timedelta(seconds=QUIET + 1))
        for _ in range(100):
            await it.clock.move_to(it.clock.now() + timedelta(milliseconds=2))
            for _ in range(8):  # another task queues keys that are due
                await asyncio.sleep(0)
        assert len(visits) < 10
        gate.open.set()
        await it.settle()
        await it.live(timedelta(seconds=QUIET + 1))
        assert SECRET not in it.engine.world.contested
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"


async def test_document_whose_first_write_fails_is_narrowed_before_the_key_exists() -> None:
    async with gated(identity("slow", **wide()), CALLER) as (it, server, gate):
        await it.settle()
        before = granted(server)
        failures = [ApiError(503, "ServiceUnavailable", "")]
        server.refuses = lambda place: failures.pop() if failures and place == SECRET else None
        it.engine.observe(server.put(accepting(scopes=["read"])))
        await until(lambda: granted(server) < before)
        assert not failures
        gate.open.set()
        await it.settle()
        await until(lambda: server.condition(*IDENTITY, "Ready")["status"] == "True")
        assert gate.generated == 1
