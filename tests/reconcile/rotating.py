"""A cluster in which a root is replaced, simulated: an operator, a clock, and pods that lag.

Pods do not see a write at once. Here each of them reads its files up to `bundle.propagation` late,
and at every moment every pod's certificate must verify against every pod's roots.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from cryptography import x509

from tests.pki.builders import NOW
from tests.reconcile.serving import Crashed, Server
from troth.pki.paths import subject_key_id
from troth.pki.pem import read_certificates
from troth.reconcile.clock import MovableClock
from troth.reconcile.engine import Engine
from troth.resources.references import Ref
from troth.world import observe
from troth.world.keys import domain_key, identity_key

Manifest = dict[str, Any]
SYSTEM = "troth-system"
START = NOW
STEP = timedelta(seconds=30)
PROPAGATION = timedelta(minutes=3)
ROOT_LIFETIME = timedelta(hours=30)
IDENTITIES = [Ref(f"team{number % 2}", f"service{number}") for number in range(6)]
AUTHORITY = Ref(SYSTEM, "production-authority")
DOMAIN = ("TrustDomain", Ref("", "production"))


def declarations() -> Iterator[Manifest]:
    yield {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": "production"},
        "spec": {
            "domain": "prod.shop.example",
            "environment": "production",
            "namespaceSelector": {"matchLabels": {"environment": "production"}},
            "authority": {"selfManaged": {"lifetime": "30h"}},
            "certificates": {"lifetime": "6h"},
        },
    }
    for namespace in sorted({ref.namespace for ref in IDENTITIES}):
        yield namespaced(namespace)
    for ref in IDENTITIES:
        yield identity(ref)


def namespaced(name: str) -> Manifest:
    labels = {"environment": "production"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def identity(ref: Ref) -> Manifest:
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {
            "workload": {
                "serviceAccountName": ref.name,
                "podSelector": {"matchLabels": {"app": ref.name}},
            },
            "authentication": {"mtls": {}},
        },
    }


class Permitted:
    remaining = 3600.0

    async def gained(self) -> None:
        return


class Files(NamedTuple):
    """What a pod has on its disk."""

    signer: str
    roots: frozenset[str]
    not_after: datetime


class Scene:
    """A cluster, an operator that can be killed, a clock, and what pods have on their disks."""

    def __init__(self, *more: Manifest) -> None:
        self.server = Server([*declarations(), *more])
        self.clock = MovableClock(START)
        self.phases: list[str] = []
        self.broken: list[str] = []
        self.crashes = 0
        self._seen: list[dict[Ref, Files]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(self.server, SYSTEM, clock=self.clock, permit=Permitted())

    async def start(self) -> None:
        self.engine = self._engine()
        for manifest in list(self.server.objects.values()):
            self.engine.observe(copy.deepcopy(manifest))
        work = (self.engine.work(), self.engine.queue.run_due())
        self._tasks = [asyncio.create_task(each) for each in work]
        await self.settle()

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def live(self, length: timedelta) -> None:
        """Let time pass, in steps short beside the propagation; look around after each."""
        until = self.clock.now() + length
        while self.clock.now() < until:
            await self.clock.move_to(self.clock.now() + STEP)
            await self.settle()
            self._look()

    async def until(self, phase: str, patience: timedelta = timedelta(hours=24)) -> None:
        """Live until the rotation is in a phase."""
        give_up = self.clock.now() + patience
        while self.phase != phase:
            assert self.clock.now() < give_up, f"still {self.phase}: {self.blockers}"
            await self.live(STEP)

    async def settle(self) -> None:
        """Wait until nothing is left to do; an operator that has crashed is started again."""
        for _ in range(8):  # due keys are queued by a task of their own
            await asyncio.sleep(0)
        settled = asyncio.create_task(self.engine.queue.settled())
        done, _ = await asyncio.wait({self._tasks[0], settled}, return_when=asyncio.FIRST_COMPLETED)
        settled.cancel()
        if self._tasks[0] in done:
            assert isinstance(self._tasks[0].exception(), Crashed)
            self.crashes += 1
            await self.kill()
            await self.start()
            await self.settle()

    async def look_again(self, *identities: Ref) -> None:
        """Have the trust domain looked at, or identities; refused writes are tried again so."""
        keys = [identity_key(ref) for ref in identities]
        self.engine.queue.add(keys or [domain_key(DOMAIN[1].name)])
        await self.settle()

    async def user_puts(self, manifest: Manifest) -> None:
        self.engine.observe(self.server.put(manifest))
        await self.settle()

    def tamper(self, kind: str, ref: Ref, change: Callable[[Manifest], object]) -> None:
        manifest = copy.deepcopy(self.server.objects[kind, ref])
        change(manifest)
        self.engine.observe(self.server.put(manifest))

    @property
    def status(self) -> Manifest:
        status: Manifest = self.server.objects[DOMAIN].get("status", {})
        return status

    def condition(self, type_: str) -> tuple[str, str]:
        """A condition of the trust domain: its status and reason."""
        found = next(each for each in self.status["conditions"] if each["type"] == type_)
        return found["status"], found["reason"]

    @property
    def phase(self) -> str:
        return str(self.status.get("rotation", {}).get("phase", "Idle"))

    @property
    def blockers(self) -> list[str]:
        return list(self.status.get("rotation", {}).get("blockers", []))

    @property
    def active(self) -> str:
        return str(self.status["authorities"][0]["fingerprint"])

    def _look(self) -> None:
        if not self.phases or self.phases[-1] != self.phase:
            self.phases.append(self.phase)
        self._seen.append(dict(self.files()))
        lag = PROPAGATION // STEP - 1
        fresh, stale = self._seen[-1], self._seen[max(0, len(self._seen) - 1 - lag)]
        for presented in (fresh, stale):
            for trusted in (fresh, stale):
                self._verify_all(presented, trusted)

    def _verify_all(self, presented: dict[Ref, Files], trusted: dict[Ref, Files]) -> None:
        for who, files in presented.items():
            if files.not_after <= self.clock.now():
                self.broken.append(f"{who} has an expired certificate in phase {self.phase}")
            self.broken.extend(
                f"{other} does not trust {who} in phase {self.phase}"
                for other, theirs in trusted.items()
                if files.signer not in theirs.roots
            )

    def files(self) -> Iterator[tuple[Ref, Files]]:
        for (kind, ref), manifest in self.server.objects.items():
            if kind == "Secret" and ref.namespace != SYSTEM:
                data = observe.decoded(manifest)
                top, not_after = presented(data[observe.LEAF])
                yield ref, Files(top, key_ids(data[observe.ROOTS].decode()), not_after)


@cache
def presented(chain: bytes) -> tuple[str, datetime]:
    """Whose signature a chain ends with, by its key identifier, and how long the leaf is valid."""
    certificates = x509.load_pem_x509_certificates(chain)
    issuer = certificates[-1].extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert issuer.value.key_identifier is not None
    return issuer.value.key_identifier.hex(), certificates[0].not_valid_after_utc


@cache
def key_ids(bundle: str) -> frozenset[str]:
    """The key identifiers of a bundle's roots."""
    roots = read_certificates(bundle.encode(), "the bundle")
    return frozenset(subject_key_id(root).hex() for root in roots)


@asynccontextmanager
async def scene(*more: Manifest) -> AsyncIterator[Scene]:
    """Begin with what is declared, and more."""
    it = Scene(*more)
    await it.start()
    try:
        yield it
    finally:
        await it.kill()
