"""Observing and changing brokers in the background: no reconcile waits for a broker.

Each broker has at most one operation at a time. Its outcome goes into the world, and the affected
keys are requeued. Writes at a broker are guarded by the ledger, which is written first, and by the
lease: the driver checks it before each call, and the operation is cancelled when it is lost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from troth.brokers.clients import Clients
from troth.brokers.errors import BrokerError
from troth.brokers.exposure import nothing_shown
from troth.brokers.protocol import Driver
from troth.cluster.errors import ApiError
from troth.planning.steps.brokers import ChangeAdminCredential, ChangeBroker, ObserveBroker
from troth.planning.steps.step import BackgroundStep
from troth.reconcile.brokers.admins import AdminCredentials, Secrets
from troth.reconcile.brokers.change import (
    Changes,
    Credentials,
    Failed,
    as_it_went,
    as_observed,
)
from troth.reconcile.brokers.connections import NOT_FOUND, Connections
from troth.reconcile.brokers.faults import StalePlan, fault_of, taken
from troth.reconcile.brokers.spans import broker_span, note_refused
from troth.reconcile.events.notice import REPAIRED, Notice
from troth.reconcile.runtime.clock import Clock
from troth.reconcile.runtime.instrumentation import Instrumentation, count_changes
from troth.reconcile.runtime.lease_fence import Fence, LeaseLost, leading, require_lease
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed
from troth.world.facts.broker import Exposed, Ledger
from troth.world.facts.objects import Fault, Manifest
from troth.world.index.guarded_policies import groups_at, guarded_groups
from troth.world.keys import Key, Keys, broker_key
from troth.world.observation.ledger import ledger_manifest
from troth.world.origin import log_fields
from troth.world.outcomes.brokers import (
    AdminCredentialChanged,
    BrokerChanged,
    BrokerObserved,
    WorkBegun,
    WorkEnded,
    WorkFailed,
)
from troth.world.world import World

PATIENCE = 60.0
"""Timeout in seconds for one observation or change; each call to a broker has a shorter one."""
CLIENTS_PATIENCE = 20.0
"""Timeout in seconds for looking at the clients of a broker, within that of its observation."""
EXPOSURE_PATIENCE = 10.0
"""The same for looking at its security."""
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Dependencies of the work at brokers, other than the brokers.

    `keep` writes the ledger's ConfigMap over the known one, and raises `StalePlan` if it has
    changed. `concern` requeues keys, `record_event` posts an Event, and `instrumentation` counts.
    """

    reads: Secrets
    leader_fence: Fence
    credentials: Credentials
    keep: Callable[[MessageBroker, Manifest], Awaitable[None]]
    concern: Callable[[Keys], None]
    record_event: Callable[[Key, str, Notice], Awaitable[None]]
    instrumentation: Instrumentation = field(default_factory=Instrumentation)


class Background(Protocol):
    """Work outside the reconcile loop."""

    def begin(self, step: BackgroundStep) -> None:
        """Begin a step. The world records at once that it is in progress, and its outcome later."""

    def disconnect(self, broker: Ref) -> None:
        """Close the connection to a broker, after the operation in progress there."""

    async def close(self) -> None:
        """Cancel the work in progress."""


class BrokerWork:
    """The work in progress at brokers. `close` cancels it."""

    def __init__(self, world: World, clock: Clock, surroundings: Surroundings) -> None:
        self._world = world
        self._clock = clock
        self._around = surroundings
        self._permit = partial(require_lease, surroundings.leader_fence)
        self._connections = Connections(surroundings.reads, self._permit)
        self._changes = Changes(surroundings.credentials)
        self._tasks: dict[Ref, asyncio.Task[None]] = {}
        self._leaving: set[Ref] = set()
        """Brokers whose connections are closed after the operation in progress."""
        self._admins = AdminCredentials(
            secrets=surroundings.reads,
            connections=self._connections,
            ledger=world.brokers.ledger,
            require=self._require_all,
            keep=self._keep,
            record_event=self._record_event,
            now=clock.now,
        )

    def begin(self, step: BackgroundStep) -> None:
        """Begin a step at its broker, unless an operation is in progress there."""
        if step.broker in self._tasks:
            return
        self._around.concern(self._world.observe_outcome(WorkBegun(step.broker)))
        task = asyncio.create_task(self._carry_out(step), name=f"broker {step.broker}")
        self._tasks[step.broker] = task

    def disconnect(self, broker: Ref) -> None:
        """Close the connection to a broker, after the operation in progress there."""
        if broker in self._tasks:
            self._leaving.add(broker)
        else:
            ending = asyncio.create_task(self._end(broker), name=f"end of broker {broker}")
            self._tasks[broker] = ending

    async def _end(self, broker: Ref) -> None:
        try:
            await self._connections.end(broker)
        finally:
            del self._tasks[broker]
            self._leaving.discard(broker)
            self._around.concern({broker_key(broker)})

    @property
    def busy(self) -> bool:
        """Whether any operation is in progress."""
        return bool(self._tasks)

    async def settled(self) -> None:
        """Wait until no operation is in progress."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def close(self) -> None:
        """Cancel the operations in progress, and close all connections."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*list(self._tasks.values()), return_exceptions=True)
        await self._connections.close()

    async def _carry_out(self, step: BackgroundStep) -> None:
        """Carry out a step and record its outcome in the world."""
        ref: Ref = step.broker
        affected: Keys = set()
        try:
            with broker_span(self._around.instrumentation.tracer, step):
                async with leading(self._around.leader_fence), asyncio.timeout(PATIENCE):
                    affected |= await self._done(step)
        except (StalePlan, LeaseLost):
            affected |= self._failed(ref, None)
        except (BrokerError, ApiError, TimeoutError) as error:
            affected |= self._failed(ref, fault_of(error, ref))
        except Exception as error:  # noqa: BLE001 - one broker must not stop the others
            log.error("work at a broker failed", broker=str(ref), **log_fields(error))  # noqa: TRY400
            sentence = f"{type(error).__name__}; see the operator's log"
            affected |= self._failed(ref, Fault("InternalError", sentence))
        finally:
            del self._tasks[ref]
            affected |= self._world.observe_outcome(WorkEnded(ref))
            if ref in self._leaving or self._world.brokers.declared(ref) is None:
                self._leaving.discard(ref)
                await self._connections.end(ref)
            self._around.concern(affected)

    async def _done(self, step: BackgroundStep) -> Keys:
        broker = self._world.brokers.declared(step.broker)
        if broker is None:
            return set()
        return await BROKER_HANDLERS[type(step)](self, broker, step)

    def _failed(self, ref: Ref, fault: Fault | None) -> Keys:
        """Record a failed attempt; return the keys that the difference affects."""
        affected = self._world.observe_outcome(WorkFailed(ref, fault, self._clock.uptime()))
        if fault is not None:
            self._around.instrumentation.broker_failed(ref, fault.reason)
            log.warning("broker not usable", broker=str(ref), reason=fault.reason)
        return affected

    # Observation

    async def observe(self, broker: MessageBroker, _: ObserveBroker) -> Keys:
        """Observe a broker; raises `StalePlan` if its declaration changes meanwhile."""
        connected = await self._connections.renewed(broker)
        observed = await connected.adapter.observe()
        clients = await self._clients(broker, connected.adapter)
        exposed = await self._exposed(broker, connected.adapter)
        declared = self._world.brokers.declared(broker.ref)
        if declared is None or not _same(declared, broker):  # may have observed another broker
            raise StalePlan
        return self._world.observe_outcome(
            BrokerObserved(
                broker.ref,
                observed,
                connected.authorities,
                connected.shown,
                self._clock.uptime(),
                clients,
                exposed,
            )
        )

    async def _clients(self, broker: MessageBroker, adapter: Driver) -> Clients | Fault | None:
        """Return the clients of a broker, or why it does not show them.

        None if no policy there depends on them. Nothing else depends on them, so a broker that does
        not show them is administered as before.
        """
        groups = guarded_groups(self._world.brokers, broker.ref)
        if groups is None:
            return None
        try:
            async with asyncio.timeout(CLIENTS_PATIENCE):
                return await adapter.clients(groups)
        except (BrokerError, TimeoutError) as error:
            fault = fault_of(error, broker.ref)
            log.info("clients of a broker not shown", broker=str(broker.ref), reason=fault.reason)
            return fault

    async def _exposed(self, broker: MessageBroker, adapter: Driver) -> Exposed:
        """Return what a broker shows of its security; a failure is part of it.

        No grant depends on it, so a broker that shows nothing is administered as before.
        """
        try:
            async with asyncio.timeout(EXPOSURE_PATIENCE):
                found = await adapter.exposure(groups_at(self._world.brokers, broker.ref))
        except (BrokerError, TimeoutError) as error:
            fault = fault_of(error, broker.ref)
            log.info("security of a broker not shown", broker=str(broker.ref), reason=fault.reason)
            found = nothing_shown(fault.message)
        return Exposed(found, self._clock.now().replace(microsecond=0))

    # Admin credential

    async def change_admin_credential(
        self, broker: MessageBroker, step: ChangeAdminCredential
    ) -> Keys:
        """Carry out a change of the admin credential.

        A failure is recorded for this credential only, because the broker still answers.
        """
        connected, fault = await self._admins.seen(broker, step), None
        try:
            await self._admins.take(broker, step, connected)
        except (BrokerError, ApiError) as error:
            fault = fault_of(error, broker.ref)
            log.warning("admin credential not rotated", broker=str(broker.ref), reason=fault.reason)
        return self._world.observe_outcome(
            AdminCredentialChanged(broker.ref, fault, self._clock.uptime())
        )

    # Change

    async def change(self, broker: MessageBroker, step: ChangeBroker) -> Keys:
        """Change a broker. The ledger is written first, and again with the outcome."""
        connected = self._connections.known(broker.ref)
        if connected is None:
            raise StalePlan
        await self._keep(broker, step.before)
        if step.without_ledger:
            await self._record_loss(broker)
        if step.removals or step.revocations:
            await self._require_ledger(broker)
        self._permit()
        failed = await self._changes.carry_out(broker, connected.adapter, step)
        await self._keep(broker, as_it_went(step, failed))
        before = self._world.brokers.observation(broker.ref).observed or Observed()
        observed = as_observed(before, step, failed)
        changed = BrokerChanged(broker.ref, observed, failed, self._clock.uptime())
        affected = self._world.observe_outcome(changed)
        count_changes(self._around.instrumentation, step, failed)
        note_refused(self._around.instrumentation.tracer, failed)
        self._changes.forget_revoked(broker, step, failed)
        await self._record_repair(broker, step, failed)
        return affected

    async def _keep(self, broker: MessageBroker, ledger: Ledger) -> None:
        if self._world.brokers.ledger(broker.ref) != ledger:
            self._permit()
            made = self._world.brokers.packed(broker.ref, ledger)
            manifest = ledger_manifest(self._world.own_namespace, broker, ledger, made)
            await self._around.keep(broker, manifest)
            if self._world.brokers.ledger(broker.ref) != ledger:
                raise taken(Ref.of(manifest))

    async def _require_ledger(self, broker: MessageBroker) -> None:
        """Raise `StalePlan` if the stored ledger is not the planned one.

        An outdated copy does not know the grants that another replica has made since, and must not
        revoke them.
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
        self._permit()

    async def _record_loss(self, broker: MessageBroker) -> None:
        note = (
            "the broker's ledger was missing; Troth created another one from what is declared, "
            "and removed nothing for it"
        )
        await self._record_event(broker, Notice("LedgerLost", note, "Warning"))

    async def _record_event(self, broker: MessageBroker, notice: Notice) -> None:
        await self._around.record_event(broker_key(broker.ref), broker.metadata.uid, notice)

    async def _record_repair(
        self, broker: MessageBroker, step: ChangeBroker, failed: Failed
    ) -> None:
        if step.repaired and not failed:
            note = "the broker differed from what is declared; Troth restored it"
            await self._record_event(broker, Notice(REPAIRED, note))


BROKER_HANDLERS: dict[
    type[BackgroundStep], Callable[[BrokerWork, MessageBroker, Any], Awaitable[Keys]]
] = {
    ObserveBroker: BrokerWork.observe,
    ChangeBroker: BrokerWork.change,
    ChangeAdminCredential: BrokerWork.change_admin_credential,
}
"""The handler of each step at a broker."""


def _same(one: MessageBroker, other: MessageBroker) -> bool:
    """Return whether two are the same broker with the same spec."""
    return (one.metadata.uid, one.spec) == (other.metadata.uid, other.spec)
