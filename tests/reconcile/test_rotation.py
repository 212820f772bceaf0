"""A root is replaced while everybody goes on talking, whatever happens meanwhile.

Pods do not see a write at once. Here each of them reads its files up to `bundle.propagation` late,
and at every moment every pod's certificate must verify against every pod's roots.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from troth.pki.paths import subject_key_id
from troth.pki.pem import read_certificates
from troth.reconcile.clock import MovableClock
from troth.reconcile.engine import Engine
from troth.reconcile.rehearsal import Rehearsal
from troth.resources.references import Ref
from troth.world import observe
from troth.world.keys import domain_key

Manifest = dict[str, Any]
SYSTEM = "troth-system"
START = datetime(2026, 11, 25, 12, tzinfo=UTC)
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

    def __init__(self) -> None:
        self.server = Rehearsal(declarations())
        self.clock = MovableClock(START)
        self.phases: list[str] = []
        self.broken: list[str] = []
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
        await self.engine.queue.settled()

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
        for _ in range(8):  # due keys are queued by a task of their own
            await asyncio.sleep(0)
        await self.engine.queue.settled()

    async def look_again(self) -> None:
        self.engine.queue.add([domain_key(DOMAIN[1].name)])
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
        self._seen.append(dict(self._files()))
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

    def _files(self) -> Iterator[tuple[Ref, Files]]:
        for (kind, ref), manifest in self.server.objects.items():
            if kind == "Secret" and ref.namespace != SYSTEM:
                facts = observe.identity_secret(manifest)
                assert facts.leaf is not None
                roots = key_ids(facts.public[observe.ROOTS])
                yield ref, Files(facts.leaf.authority_key_id, roots, facts.leaf.not_after)


_KEY_IDS: dict[str, frozenset[str]] = {}


def key_ids(bundle: str) -> frozenset[str]:
    if bundle not in _KEY_IDS:
        roots = read_certificates(bundle.encode(), "the bundle")
        _KEY_IDS[bundle] = frozenset(subject_key_id(root).hex() for root in roots)
    return _KEY_IDS[bundle]


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    it = Scene()
    await it.start()
    try:
        yield it
    finally:
        await it.kill()


async def test_a_root_is_replaced_at_two_thirds_of_its_life_and_nobody_is_refused() -> None:
    async with scene() as it:
        first = it.active
        await it.live(ROOT_LIFETIME * 2 / 3 - timedelta(minutes=10))
        assert it.phases == ["Idle"]
        await it.live(timedelta(minutes=30))
        assert it.phases == ["Idle", "Distributing", "Reissuing", "Retiring", "Idle"]
        assert it.active != first
        assert len(it.status["authorities"]) == 1
        assert it.broken == []


async def test_after_it_the_old_root_verifies_nowhere() -> None:
    async with scene() as it:
        (old,) = {files.signer for _, files in it._files()}
        await it.live(ROOT_LIFETIME)
        assert all(old not in files.roots and files.signer != old for _, files in it._files())
        bundle = it.server.objects["ConfigMap", Ref("team0", "trust-bundle")]["data"]["ca.crt"]
        assert old not in key_ids(bundle)


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_an_operator_killed_in_any_phase_goes_on_where_it_was(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.kill()
        await it.start()
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_a_bundle_edited_by_hand_is_put_right_and_the_wait_begins_anew(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        place = ("ConfigMap", Ref("team1", "trust-bundle"))
        wanted = copy.deepcopy(it.server.objects[place]["data"])
        it.tamper(*place, lambda manifest: manifest["data"].update({"ca.crt": "nothing"}))
        await it.live(STEP)
        assert it.server.objects[place]["data"] == wanted
        if phase == "Distributing":
            await it.live(PROPAGATION - 2 * STEP)
            assert it.phase == "Distributing"
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert it.broken == []


@pytest.mark.parametrize("phase", ["Distributing", "Reissuing", "Retiring"])
async def test_a_namespace_and_an_identity_may_join_in_any_phase(phase: str) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.user_puts(namespaced("team2"))
        await it.user_puts(identity(Ref("team2", "newcomer")))
        await it.live(timedelta(minutes=30))
        assert it.phase == "Idle"
        assert it.broken == []


async def test_a_reader_that_cannot_be_reached_blocks_by_name_instead_of_breaking() -> None:
    async with scene() as it:
        await it.live(timedelta(minutes=1))
        mute = Ref("team1", "trust-bundle")
        apply = it.server.apply

        async def deaf(manifest: Manifest) -> Manifest:
            if Ref.of(manifest) == mute:
                return copy.deepcopy(it.server.objects["ConfigMap", mute])
            return await apply(manifest)

        it.server.apply = deaf  # type: ignore[method-assign]  # the one thing that fails
        await it.until("Distributing")
        await it.live(timedelta(hours=1))
        await it.look_again()  # a refused write is tried again by a clock that is not moved here
        assert it.phase == "Distributing"
        (blocker,) = it.blockers
        assert blocker.startswith(
            "the bundle of namespace team1 does not hold the new root yet; it is waited for until "
        )
        assert it.broken == []


async def test_a_certificate_that_cannot_be_replaced_is_named_until_it_has_expired() -> None:
    async with scene() as it:
        await it.until("Distributing")
        await it.live(timedelta(minutes=1))
        await it.user_puts(
            identity(Ref("team0", "twin")) | {"spec": identity(Ref("team0", "service0"))["spec"]}
        )  # the same ServiceAccount: neither is issued anything until that is mended
        await it.until("Reissuing")
        await it.live(PROPAGATION + timedelta(minutes=1))
        assert [blocker.split(" holds")[0] for blocker in it.blockers] == [
            "team0/service0-identity"
        ]
        await it.until("Idle", patience=timedelta(hours=7))


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
@pytest.mark.parametrize("phase", ["Distributing", "Retiring"])
async def test_a_wall_clock_that_jumps_shortens_no_wait(phase: str, jump: timedelta) -> None:
    async with scene() as it:
        await it.until(phase)
        await it.clock.jump_to(it.clock.now() + jump)
        await it.settle()
        assert it.phase == phase
        await it.live(PROPAGATION - 2 * STEP)
        assert it.phase == phase


async def test_reissuing_is_spread_and_not_done_in_one_moment() -> None:
    async with scene() as it:
        await it.until("Reissuing")
        moments = 0
        old = {ref: files.signer for ref, files in it._files()}
        while it.phase == "Reissuing":
            await it.live(STEP)
            now = {ref: files.signer for ref, files in it._files()}
            moments, old = moments + (now != old), now
        assert moments >= 2


async def test_the_root_secret_deleted_half_way_is_never_replaced_unasked() -> None:
    async with scene() as it:
        await it.until("Distributing")
        gone = it.server.objects.pop(("Secret", AUTHORITY))
        it.engine.forget("Secret", AUTHORITY, int(gone["metadata"]["resourceVersion"]) + 10**6)
        await it.live(timedelta(minutes=30))
        assert ("Secret", AUTHORITY) not in it.server.objects
        assert it.broken == []
        ready = next(each for each in it.status["conditions"] if each["type"] == "AuthorityReady")
        assert ready["reason"] == "AuthorityMissing"
