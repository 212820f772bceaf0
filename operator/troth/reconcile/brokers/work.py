"""Looking at brokers and changing them, in the background: no visit of a key waits for a broker.

At each broker one thing is done at a time. What came of it goes into the world, and those whom it
concerns are looked at again. What is written there is guarded as every write is: by the ledger,
which is written first, and by the lease, without which nothing is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import structlog

from troth.brokers.errors import BrokerError
from troth.cluster.errors import ApiError
from troth.planning.plan import BackgroundStep, ChangeBroker, ObserveBroker, TurnAdmin
from troth.reconcile.brokers.admins import AdminTurns, Secrets
from troth.reconcile.brokers.change import Changes, Credentials, Failed, as_it_went, principals_of
from troth.reconcile.brokers.connections import NOT_FOUND, Connections
from troth.reconcile.brokers.faults import StalePlan, fault_of, taken
from troth.reconcile.events.notice import Notice
from troth.reconcile.loop.clock import Clock
from troth.reconcile.loop.instrumentation import Instrumentation, count_changes
from troth.reconcile.loop.lease_fence import LeaderFence
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed
from troth.world.facts.broker import AdminShown, Ledger
from troth.world.facts.objects import Fault, Manifest
from troth.world.keys import Key, Keys, broker_key
from troth.world.observation.ledger import ledger_manifest
from troth.world.world import World

PATIENCE = 60.0
"""Seconds for one look or one change; each call to a broker has less."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the work at brokers touches beside brokers.

    `keep` writes the ledger's ConfigMap over the one that is known and raises `StalePlan` where it
    is another by now, `concern` requeues keys, `tell` makes an Event, `instrumentation` counts.
    """

    reads: Secrets
    leader_fence: LeaderFence
    credentials: Credentials
    keep: Callable[[MessageBroker, Manifest], Awaitable[None]]
    concern: Callable[[Keys], None]
    tell: Callable[[Key, str, Notice], Awaitable[None]]
    instrumentation: Instrumentation = field(default_factory=Instrumentation)


class BrokerWork:
    """All that is under way at brokers. `close` ends it."""

    def __init__(self, world: World, clock: Clock, surroundings: Surroundings) -> None:
        self._world = world
        self._clock = clock
        self._around = surroundings
        self._connections = Connections(surroundings.reads)
        self._changes = Changes(surroundings.credentials)
        self._tasks: dict[Ref, asyncio.Task[None]] = {}
        self._admins = AdminTurns(
            secrets=surroundings.reads,
            connections=self._connections,
            ledger=world.brokers.ledger,
            require=self._require_all,
            keep=self._keep,
            tell=self._tell_broker,
            now=clock.now,
        )

    def begin(self, step: BackgroundStep) -> None:
        """Begin a step at its broker; nothing where something is under way there already."""
        if step.broker in self._tasks:
            return
        look = self._world.brokers.observation(step.broker)
        self._world.brokers.note_observation(step.broker, replace(look, busy=True))
        task = asyncio.create_task(self._carry_out(step), name=f"broker {step.broker}")
        self._tasks[step.broker] = task

    def gone(self, broker: Ref) -> None:
        """Let go of a broker that is not declared any more."""
        if broker not in self._tasks:
            ending = asyncio.create_task(self._end(broker), name=f"end of broker {broker}")
            self._tasks[broker] = ending

    async def _end(self, broker: Ref) -> None:
        try:
            await self._connections.end(broker)
        finally:
            del self._tasks[broker]
            self._around.concern({broker_key(broker)})

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._tasks)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def close(self) -> None:
        """End what is under way, and let go of all brokers."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*list(self._tasks.values()), return_exceptions=True)
        await self._connections.close()

    async def _carry_out(self, step: BackgroundStep) -> None:
        """Do it, and note in the world what came of it."""
        ref, affected = step.broker, {broker_key(step.broker)}
        try:
            async with asyncio.timeout(PATIENCE):
                affected |= await self._done(step)
        except StalePlan:
            self._failed(ref, None)
        except (BrokerError, ApiError, TimeoutError) as error:
            affected |= self._failed(ref, fault_of(error, ref))
        except Exception as error:  # the edge: one broker must not stop the others
            name = type(error).__name__
            log.error("work at a broker failed", broker=str(ref), error=name, exc_info=True)  # noqa: G201
            affected |= self._failed(ref, Fault("InternalError", f"{name}; see the operator's log"))
        finally:
            del self._tasks[ref]
            self._world.brokers.note_observation(
                ref, replace(self._world.brokers.observation(ref), busy=False)
            )
            if self._world.brokers.declared(ref) is None:  # gone meanwhile
                self._world.brokers.forget_observation(ref)
                await self._connections.end(ref)
            self._around.concern(affected | self._world.rotations.concerned({broker_key(ref)}))

    async def _done(self, step: BackgroundStep) -> Keys:
        broker = self._world.brokers.declared(step.broker)
        if broker is None:
            return set()
        if isinstance(step, ObserveBroker):
            return await self._look_at(broker)
        if isinstance(step, TurnAdmin):
            return await self._turn_admin(broker, step)
        return await self._change(broker, step)

    def _failed(self, ref: Ref, fault: Fault | None) -> Keys:
        """Note a try that failed; return whom it concerns, if the fault is another than before."""
        look = self._world.brokers.observation(ref)
        tried = look.tried(self._clock.uptime(), fault)
        self._world.brokers.note_observation(ref, tried if fault else replace(tried, failures={}))
        if fault is None:
            return set()
        self._around.instrumentation.broker_failed(ref, fault.reason)
        log.warning("broker not usable", broker=str(ref), reason=fault.reason)
        return self._world.brokers.concerned_by_state(ref) if fault != look.fault else set()

    # Looking

    async def _look_at(self, broker: MessageBroker) -> Keys:
        brokers, before = self._world.brokers, self._world.brokers.observation(broker.ref)
        connected = await self._connections.renewed(broker)
        observed = await connected.adapter.observe()
        declared = brokers.declared(broker.ref)
        if declared is None or not _same(declared, broker):  # then another may have been seen
            raise StalePlan
        # whoever was ever forgotten when something changed is forgotten until now and no longer
        self._world.grants.clear()
        self._world.memo.clear()
        now = self._clock.uptime()
        brokers.note_observation(
            broker.ref,
            replace(
                before,
                observed=observed,
                at=now,
                tried_at=now,
                attempts=before.attempts if before.failures else 0,
                suspect=False,
                fault=None,
                authorities=connected.authorities,
                admin=_dated(connected.shown, before.admin, now),
            ),
        )
        known = before.observed
        if known is None or before.fault or before.authorities != connected.authorities:
            return brokers.concerned_by_state(broker.ref)
        changed = {rule.principal for rule in known.rules ^ observed.rules}
        changed |= {principal for principal, _ in known.credentials ^ observed.credentials}
        return brokers.of_principals(broker.ref, changed) if changed else set()

    # The credential that administers

    async def _turn_admin(self, broker: MessageBroker, step: TurnAdmin) -> Keys:
        """Take a turn. That it fails is noted of the credential alone: the broker still answers."""
        connected, fault = await self._admins.seen(broker, step), None
        try:
            await self._admins.take(broker, step, connected)
        except (BrokerError, ApiError) as error:
            fault = fault_of(error, broker.ref)
            log.warning("admin credential not rotated", broker=str(broker.ref), reason=fault.reason)
        look = self._world.brokers.observation(broker.ref).anew()
        noted = replace(look, admin_fault=fault, admin_tried_at=self._clock.uptime())
        self._world.brokers.note_observation(broker.ref, noted)
        return set()

    # Changing

    async def _change(self, broker: MessageBroker, step: ChangeBroker) -> Keys:
        connected = self._connections.known(broker.ref)
        if connected is None:
            raise StalePlan
        await self._keep(broker, step.before)
        if step.without_ledger:
            await self._tell_of_loss(broker)
        if step.removals or step.revocations:
            await self._require_ledger(broker)
        self._require_permit()
        failed = await self._changes.carry_out(broker, connected.adapter, step)
        await self._keep(broker, as_it_went(step, failed))
        self._note_changed(broker.ref, step, failed)
        count_changes(self._around.instrumentation, step, failed)
        self._changes.forget_revoked(broker, step, failed)
        await self._tell(broker, step, failed)
        return self._world.brokers.of_principals(broker.ref, principals_of(step))

    async def _keep(self, broker: MessageBroker, ledger: Ledger) -> None:
        if self._world.brokers.ledger(broker.ref) != ledger:
            self._require_permit()
            made = self._world.brokers.packed(broker.ref, ledger)
            manifest = ledger_manifest(self._world.own_namespace, broker, ledger, made)
            await self._around.keep(broker, manifest)
            if self._world.brokers.ledger(broker.ref) != ledger:
                raise taken(Ref.of(manifest))

    async def _require_ledger(self, broker: MessageBroker) -> None:
        """Make sure that the ledger is the one that was planned with: a copy that is behind knows
        nothing of what another has granted since, and must not take that away.
        """
        known = self._world.brokers.ledgers.get(broker.ref)
        if known is None:
            raise StalePlan
        try:
            found = await self._around.reads.get("ConfigMap", known.ref)
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise StalePlan from error
            raise
        if self._world.brokers.kept(broker.ref, found).ledger != known.ledger:
            raise StalePlan

    async def _require_all(self, broker: MessageBroker) -> None:
        await self._require_ledger(broker)
        self._require_permit()

    def _require_permit(self) -> None:
        if self._around.leader_fence.remaining <= 0:
            raise StalePlan

    async def _tell_of_loss(self, broker: MessageBroker) -> None:
        note = (
            "the broker's ledger was missing; Troth created another one from what is declared, "
            "and removed nothing for it"
        )
        await self._tell_broker(broker, Notice("LedgerLost", note, "Warning"))

    async def _tell_broker(self, broker: MessageBroker, notice: Notice) -> None:
        await self._around.tell(broker_key(broker.ref), broker.metadata.uid, notice)

    async def _tell(self, broker: MessageBroker, step: ChangeBroker, failed: Failed) -> None:
        if step.repaired and not failed:
            note = "the broker differed from what is declared; Troth restored it"
            await self._tell_broker(broker, Notice("Repaired", note))

    def _note_changed(self, ref: Ref, step: ChangeBroker, failed: Failed) -> None:
        look, now = self._world.brokers.observation(ref), self._clock.uptime()
        observed = look.observed or Observed()
        told = {(each.principal, each.slot) for each in step.telling}
        rules = observed.rules | {rule for rule in step.additions if rule not in failed}
        observed = Observed(
            (observed.credentials | {place for place in told if place not in failed})
            - {place for place in step.revocations if place not in failed},
            rules - {rule for rule in step.removals if rule not in failed},
        )
        noted = replace(look, observed=observed, failures=dict(failed))
        noted = noted.tried(now) if failed else replace(noted, tried_at=now, attempts=0)
        self._world.brokers.note_observation(ref, noted)


def _same(one: MessageBroker, other: MessageBroker) -> bool:
    """Say whether two are the same broker, described alike."""
    return (one.metadata.uid, one.spec) == (other.metadata.uid, other.spec)


def _dated(shown: AdminShown, before: AdminShown | None, uptime: float) -> AdminShown:
    """Return an admin credential with since when it is known to administer."""
    same = before is not None and replace(shown, since=before.since) == before
    return replace(shown, since=before.since if same and before is not None else uptime)
