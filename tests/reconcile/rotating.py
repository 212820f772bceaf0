"""Simulated cluster for root rotations: an operator, a clock, and pods that lag.

Pods do not see a write at once. Each pod here reads its files up to `bundle.propagation` late. At
every moment every pod's certificate must verify against every pod's roots.
"""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

from cryptography import x509

from tests.pki.builders import NOW
from tests.reconcile.serving import Crashed, Server
from troth.documents.secret_keys import LEAF, ROOTS
from troth.pki.certificates.paths import subject_key_id
from troth.pki.encodings.pem import read_certificates
from troth.reconcile.loop.engine import Engine
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.keys import domain_key, identity_key
from troth.world.observation import objects as observe

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
    yield trust_domain()
    for namespace in sorted({ref.namespace for ref in IDENTITIES}):
        yield namespaced(namespace)
    for ref in IDENTITIES:
        yield identity(ref)


def trust_domain(**spec: Any) -> Manifest:
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": "production"},
        "spec": {
            "domain": "prod.shop.example",
            "environment": "production",
            "namespaceSelector": {"matchLabels": {"environment": "production"}},
            "authority": {"selfManaged": {"lifetime": "30h"}},
            "certificates": {"lifetime": "6h"},
        }
        | spec,
    }


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


class Validity(NamedTuple):
    """Validity period of one certificate, or the period in which all of several are valid."""

    not_before: datetime
    not_after: datetime

    def fault(self, at: datetime) -> str:
        """Return why this is not valid at a moment; empty if it is valid."""
        if at < self.not_before:
            return "is not valid yet"
        return "has expired" if at >= self.not_after else ""


class Files(NamedTuple):
    """A pod's files: its roots, and the signer and validity of the chain that it presents.

    `signer` and the keys of `roots` are key identifiers.
    """

    signer: str
    roots: Mapping[str, Validity]
    presented: Validity

    def refusal(self, presented: "Files", at: datetime) -> str:
        """Return why a pod with these files rejects what another presents; empty if it accepts."""
        fault = presented.presented.fault(at)
        if fault:
            return f"its certificate {fault}"
        root = self.roots.get(presented.signer)
        if root is None:
            return "its root is not trusted"
        fault = root.fault(at)
        return f"its root {fault}" if fault else ""


class Scene:
    """A cluster, an operator that can be killed, a clock, and the files of all pods."""

    step = STEP
    propagation = PROPAGATION

    def __init__(self, *more: Manifest) -> None:
        self.server = Server([*declarations(), *more])
        self.clock = MovableClock(START)
        self.phases: list[str] = []
        self.broken: list[str] = []
        self.crashes = 0
        self._seen: list[dict[Ref, Files]] = []
        self._histories: list[list[Any]] = [self._seen]
        """Lists with one item for each step, to which subclasses add theirs."""
        self._version, self._unchanged = 0, 0
        """The version of the server at the last step, and for how many steps it has been that."""
        self._tasks: list[asyncio.Task[None]] = []
        self.engine = self._engine()

    def _engine(self) -> Engine:
        return Engine(self.server, SYSTEM, clock=self.clock, leader_fence=Permitted())

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
        """Advance the clock in steps shorter than the propagation delay; verify after each."""
        until = self.clock.now() + length
        while self.clock.now() < until:
            await self._advance(until)

    async def live_without(self, length: timedelta) -> None:
        """Advance the clock while no operator runs, then start one."""
        await self.kill()
        until = self.clock.now() + length
        while self.clock.now() < until:
            await self.clock.move_to(self.clock.now() + self.step)
            self._look()
        await self.start()

    async def until(self, phase: str, patience: timedelta = timedelta(hours=24)) -> None:
        """Advance the clock until the rotation is in a phase."""
        give_up = self.clock.now() + patience
        while self.phase != phase:
            assert self.clock.now() < give_up, f"still {self.phase}: {self.blockers}"
            await self._advance(give_up)

    async def _advance(self, until: datetime) -> None:
        """Advance the clock by one step, or to the last of the steps in which nothing happens.

        Nothing changes in those except that validity periods begin and end. Two times at which a
        certificate is valid have none between them at which it is not.
        """
        skipped = max(self._idle_steps(until) - 1, 0)
        for each in self._histories:
            each.extend(each[-1:] * skipped)
        await self.clock.move_to(self.clock.now() + (1 + skipped) * self.step)
        await self.settle()
        self._look()

    def _idle_steps(self, until: datetime) -> int:
        """Return how many of the next steps end before the operator has work.

        That is 0 as long as a pod may read files that differ from the last ones.
        """
        queue = self.engine.queue
        changed = self._version != self.server._version
        if changed or self._unchanged <= self._lag or len(queue) or queue._retries:
            return 0
        now, uptime = self.clock.now(), self.clock.uptime()
        waits = [until - now + self.step]
        for due in queue._due.values():
            waits += [due.at - now, timedelta(seconds=due.uptime - uptime)]
        return -(-min(waits) // self.step) - 1

    async def settle(self) -> None:
        """Wait until the queue is empty; start the operator again if it crashed."""
        for _ in range(8):  # another task queues keys that are due
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
        await self.engine.event_recorder.flush()

    async def look_again(self, *identities: Ref) -> None:
        """Reconcile the trust domain, or the given identities; this retries refused writes."""
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
        """Return the status and the reason of a condition of the trust domain."""
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
        same = self._version == self.server._version
        self._version, self._unchanged = self.server._version, self._unchanged + 1 if same else 0
        if not self.phases or self.phases[-1] != self.phase:
            self.phases.append(self.phase)
        self._seen.append(dict(self.files()))
        fresh, stale = self._seen[-1], self._seen[max(0, len(self._seen) - 1 - self._lag)]
        views = [fresh] if fresh == stale else [fresh, stale]
        for presented, trusted in itertools.product(views, repeat=2):
            self._verify_all(presented, trusted)

    @property
    def _lag(self) -> int:
        """Steps by which pods read their files late."""
        return self.propagation // self.step - 1

    def _verify_all(self, presented: dict[Ref, Files], trusted: dict[Ref, Files]) -> None:
        for who, files in presented.items():
            for other, theirs in trusted.items():
                because = theirs.refusal(files, self.time_of(other))
                if because:
                    told = f"{other} refuses {who}: {because}, in phase {self.phase}"
                    self.broken.append(told)

    def time_of(self, pod: Ref) -> datetime:  # noqa: ARG002 - subclasses use it
        """Return the time on a pod's clock."""
        return self.clock.now()

    def files(self) -> Iterator[tuple[Ref, Files]]:
        for (kind, ref), manifest in self.server.objects.items():
            if kind == "Secret" and ref.namespace != SYSTEM:
                data = observe.decoded(manifest)
                signer, valid = presented(data[LEAF])
                yield ref, Files(signer, roots_of(data[ROOTS]), valid)


@cache
def presented(chain: bytes) -> tuple[str, Validity]:
    """Return the key identifier of a chain's signer and the validity of the whole chain."""
    certificates = x509.load_pem_x509_certificates(chain)
    issuer = certificates[-1].extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    assert issuer.value.key_identifier is not None
    return issuer.value.key_identifier.hex(), common(certificates)


def common(certificates: Sequence[x509.Certificate]) -> Validity:
    """Return the period in which all certificates are valid."""
    return Validity(
        max(each.not_valid_before_utc for each in certificates),
        min(each.not_valid_after_utc for each in certificates),
    )


@cache
def roots_of(bundle: bytes) -> Mapping[str, Validity]:
    """Return the validity of a bundle's roots, by key identifier."""
    roots = read_certificates(bundle, "the bundle")
    return {subject_key_id(root).hex(): common([root]) for root in roots}


def key_ids(bundle: str) -> frozenset[str]:
    """Return the key identifiers of a bundle's roots."""
    return frozenset(roots_of(bundle.encode()))


S = TypeVar("S", bound=Scene)


@asynccontextmanager
async def begun(it: S) -> AsyncIterator[S]:
    """Start a scene's operator; kill it at the end."""
    await it.start()
    try:
        yield it
    finally:
        await it.kill()


def scene(*more: Manifest) -> AbstractAsyncContextManager[Scene]:
    """Start a scene with the default declarations and more objects."""
    return begun(Scene(*more))
