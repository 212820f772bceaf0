"""A cluster in memory in which Troth's own planning and executor work, one step after the other.

The engine is left out: its workers and timers run concurrently, and the record must not depend on
their order. Brokers are simulated, and make every requested change.
"""

import copy
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.net.canonical import canonical
from tests.net.coverage import Coverage
from troth.cluster.errors import ApiError
from troth.pki.errors import PKIError
from troth.pki.keys.private import generate_key
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.planning.steps.brokers import (
    AdminChange,
    ChangeAdminCredential,
    ChangeBroker,
    ObserveBroker,
)
from troth.planning.steps.step import BackgroundStep, Step
from troth.reconcile.apply.execute import Executor
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.secrets.credential_secrets import CredentialError
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.events.transitions import repair, transitions
from troth.reconcile.rehearsal import Rehearsal
from troth.reconcile.runtime.clock import Moments, MovableClock
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed
from troth.world.facts.broker import AdminInUse, BrokerObservation, IssuedAdmin, Ledger
from troth.world.facts.objects import Fault
from troth.world.index.workloads import Workloads
from troth.world.keys import ISSUER_VIEW, Key, Keys
from troth.world.observation.ledger import ledger_manifest
from troth.world.outcomes.writes import RefusalOver, WriteRefused
from troth.world.watch_class import watch_class_of
from troth.world.world import World

Manifest = dict[str, Any]
OWN = "troth-system"
START = datetime(2027, 3, 1, 12, tzinfo=UTC)
PASSES = 4
DECLARED = (
    "TrustDomain",
    "ServiceIdentity",
    "MessageBroker",
    "TopicPolicy",
    "CredentialRotation",
    "WebhookEndpoint",
)


class Stage:
    """The objects, the World that observes them, and the execution of plans."""

    def __init__(self, coverage: Coverage | None = None) -> None:
        self.store = _Store()
        self.clock = MovableClock(START)
        self.world = World(OWN, workloads=Workloads(enabled=True))
        self.coverage = coverage or Coverage()
        self._keyring = Keyring(OWN)
        self._executor = Executor(
            self.store,
            self.world,
            self._keyring,
            self.clock,
            private_key=lambda _, algorithm: generate_key(algorithm),
        )
        self._moments = Moments(self.clock)
        self._told: list[Any] = []

    # Changes of the cluster

    def put(self, manifest: Manifest) -> Keys:
        """Create or replace an object, as a user's apply does; return the invalidated keys."""
        return self.observe(self.store.put(manifest))

    def put_unseen(self, manifest: Manifest) -> None:
        """Create an object that no informer reports."""
        self.store.put(manifest)

    def observe(self, manifest: Manifest) -> Keys:
        """Observe an object as the API server returns it."""
        if manifest["kind"] == "Secret" and self.world.is_news(manifest):
            self._keyring.observe(manifest)
        return self.world.observe(manifest, self.clock.uptime())

    def drop(self, kind: str, ref: Ref) -> Keys:
        """Delete an object at once; return the invalidated keys."""
        gone = self.store.objects.pop((kind, ref), None)
        if kind == "Secret":
            self._keyring.forget(ref)
        known = watch_class_of(gone, OWN) if gone is not None else kind
        return self.world.forget(known, ref, self.store.next_version(), self.clock.uptime())

    def delete(self, kind: str, ref: Ref) -> Keys:
        """Delete an object as a user does: it stays until its finalizers are removed."""
        stored = copy.deepcopy(self.store.objects[kind, ref])
        if not stored["metadata"].get("finalizers"):
            return self.drop(kind, ref)
        stored["metadata"].setdefault("deletionTimestamp", self.now.isoformat()[:19] + "Z")
        return self.put(stored)

    def refuse(self, kind: str, ref: Ref, why: str) -> None:
        """Record that a write of an object was refused."""
        sentence = f"{kind} {ref} cannot be written: {why}"
        self.world.observe_outcome(WriteRefused(kind, ref, sentence, passing=False))

    async def pass_time(self, length: timedelta) -> None:
        """Let time pass."""
        await self.clock.move_to(self.now + length)

    async def set_clock(self, ahead: timedelta) -> None:
        """Change the wall clock without time passing."""
        await self.clock.jump_to(self.now + ahead)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    # Planning and execution

    def keys(self) -> list[Key]:
        """Return every key that is planned, in a fixed order."""
        places = sorted(self.store.objects)
        found = [Key(kind, ref) for each in DECLARED for kind, ref in places if kind == each]
        return [*found, *(Key(ISSUER_VIEW, ref) for kind, ref in places if kind == "TrustDomain")]

    def plan(self, key: Key) -> Plan:
        """Return the present plan of a key."""
        return plan(key, self.world, self._moments.read())

    def plans(self) -> Iterator[Any]:
        """Yield the record of each key, in canonical form."""
        for key in self.keys():
            made = self.plan(key)
            steps = made.pending(self.world)
            notices = [*transitions(made), *filter(None, (repair(step, made) for step in steps))]
            self.coverage.count(made, notices)
            yield {
                "key": str(key),
                "plan": canonical(made),
                "needed": [made.steps.index(step) for step in steps],
                "targets": [canonical(step.target) for step in made.steps],
                "notices": canonical(notices),
            }

    async def visit(self, key: Key) -> None:
        """Carry out the plan of a key, and write its status."""
        made = self.plan(key)
        for _ in range(PASSES):
            steps = made.pending(self.world)
            self._tell(key, filter(None, (repair(step, made) for step in steps)))
            carried_out = [await self._carry_out(step) for step in steps]
            made = self.plan(key) if steps else made
            if not all(carried_out) or not steps:
                break
        try:
            if made.status is not None and made.status != made.previous_status:
                self._tell(key, transitions(made))
                await self._executor.status(made)
        except ApiError:
            pass

    async def settle(self, rounds: int = 4) -> None:
        """Reconcile every key until nothing is written any more."""
        for _ in range(rounds):
            before = self.store.writes
            for key in self.keys():
                await self.visit(key)
            if self.store.writes == before:
                return

    def told(self) -> list[Any]:
        """Return the Events since the previous call, in canonical form."""
        told, self._told = self._told, []
        return told

    def _tell(self, key: Key, notices: Iterable[Any]) -> None:
        told = list(notices)
        self.coverage.told(told)
        self._told += ([str(key), canonical(each)] for each in told)

    async def _carry_out(self, step: Step) -> bool:
        try:
            if isinstance(step, BackgroundStep):
                await self._at_broker(step)
            else:
                await self._executor.execute(step)
        except TryAgain:
            return False
        except (ApiError, PKIError, CredentialError) as error:
            self.refuse(*step.target, str(error))
            return False
        self.world.observe_outcome(RefusalOver(*step.target))
        return True

    # Brokers

    def saw(self, broker: Ref, look: BrokerObservation) -> None:
        """Record an observation of a broker."""
        self.world.brokers.note_observation(broker, look)

    def look(self, broker: Ref) -> BrokerObservation:
        """Return the observation of a broker."""
        return self.world.brokers.observation(broker)

    def see(self, broker: Ref, observed: Observed, **more: Any) -> None:
        """Record a successful observation of a broker."""
        uptime = self.clock.uptime()
        seen = replace(self.look(broker), observed=observed, at=uptime, tried_at=uptime)
        self.saw(broker, replace(seen, attempts=0, fault=None, suspect=False, **more))

    def lose_sight(self, broker: Ref, fault: Fault) -> None:
        """Record a failed observation of a broker."""
        self.saw(broker, self.look(broker).tried(self.clock.uptime(), fault))

    async def keep_ledger(self, broker: MessageBroker, ledger: Ledger) -> None:
        """Write a broker's ledger."""
        manifest = ledger_manifest(OWN, broker, ledger)
        kept = self.world.brokers.ledgers.get(broker.ref)
        await self._executor.keep_ledger(manifest, kept)

    async def _at_broker(self, step: BackgroundStep) -> None:
        broker = self.world.brokers.declared(step.broker)
        seen = self.look(step.broker).observed or Observed()
        match step:
            case ObserveBroker():
                self.see(step.broker, seen)
            case ChangeBroker() if broker is not None:
                rules = (seen.rules | set(step.additions)) - set(step.removals)
                told = {(each.principal, each.slot) for each in step.uploads}
                credentials = (seen.credentials | told) - set(step.revocations)
                await self.keep_ledger(broker, step.before)
                self.see(step.broker, Observed(credentials, frozenset(rules)))
                await self.keep_ledger(broker, step.after)
            case ChangeAdminCredential() if broker is not None:
                await self._change_admin_credential(step, broker, seen)

    async def _change_admin_credential(
        self, step: ChangeAdminCredential, broker: MessageBroker, seen: Observed
    ) -> None:
        ledger = self.world.brokers.ledger(step.broker) or Ledger()
        if step.change is AdminChange.REPLACE and step.shown.place is not None:
            user, slot = step.shown.place
            made = IssuedAdmin((user, slot.other), f"made-{self.store.writes}", self.now)
            await self.keep_ledger(broker, replace(ledger, admin=made))
            shown = AdminInUse(made.place, made.fingerprint, self.now, self.clock.uptime())
            credentials = seen.credentials | {made.place}
            self.see(step.broker, replace(seen, credentials=credentials), admin=shown)
        elif ledger.admin is not None:
            retired = step.change is AdminChange.RETIRE
            gone = ledger.admin.before if retired else ledger.admin.place
            left = replace(ledger.admin, replaces=False) if retired else None
            await self.keep_ledger(broker, replace(ledger, admin=left))
            self.see(step.broker, replace(seen, credentials=seen.credentials - {gone}))


class _Store(Rehearsal):
    """The objects; one that is created again gets another uid."""

    def __init__(self, objects: Iterable[Manifest] = ()) -> None:
        super().__init__(objects)
        self.made = 0

    def put(self, manifest: Manifest) -> Manifest:
        place = manifest["kind"], Ref.of(manifest)
        manifest = copy.deepcopy(manifest)
        before = self.objects.get(place)
        if before is None:
            self.made += 1
            uid = uuid.uuid5(uuid.NAMESPACE_URL, f"{place[0]}/{place[1]}/{self.made}")
            manifest["metadata"].setdefault("uid", str(uid))
        else:
            for kept in ("finalizers", "deletionTimestamp"):
                if kept in before["metadata"]:
                    manifest["metadata"].setdefault(kept, before["metadata"][kept])
        return super().put(manifest)

    def next_version(self) -> int:
        """Return the version of a deletion that happens now."""
        self._version += 1
        return self._version
