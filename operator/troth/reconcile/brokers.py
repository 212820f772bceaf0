"""Looking at brokers and changing them, in the background: no visit of a key waits for a broker.

At each broker one thing is done at a time. What came of it goes into the world, and those whom it
concerns are looked at again. What is written there is guarded as every write is: by the ledger,
which is written first, and by the lease, without which nothing is.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from troth.brokers.protocol import Batch, Broker, BrokerError, Credential, Login
from troth.cluster.errors import ApiError
from troth.planning.plan import BackgroundStep, ChangeBroker, LookAt, Telling, TurnAdmin
from troth.reconcile.broker_admins import AdminTurns, Secrets
from troth.reconcile.broker_connections import NOT_FOUND, Connections
from troth.reconcile.broker_faults import Overtaken, fault_of, taken
from troth.reconcile.clock import Clock
from troth.reconcile.notice import Notice
from troth.reconcile.permit import Permit
from troth.reconcile.tally import Tally, count_changes
from troth.resources.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Rule
from troth.world.broker_facts import AdminShown, Ledger, Observed, Place
from troth.world.brokers import credential_ref, identity_of
from troth.world.facts import Fault, Manifest
from troth.world.keys import Key, Keys, broker_key
from troth.world.ledger import kept_ledger, ledger_manifest
from troth.world.world import World

PATIENCE = 60.0
"""Seconds for one look or one change; each call to a broker has less."""
TRIED = 20
"""How many revoked credentials of one change are tried from outside."""

SPOILT = "its Secret does not hold what it says; delete it, and another one is made"

Failed = dict[Rule | Place, str]
"""The changes that a broker did not carry out, and why."""

log = structlog.get_logger()


class Credentials(Protocol):
    """What is in the Secrets of credentials, by the Secret and by fingerprint."""

    def credential(self, secret: Ref, fingerprint: str) -> Credential | None:
        """Return what a broker is told, None where the Secret does not have it."""

    def login(self, secret: Ref, fingerprint: str) -> Login | None:
        """Return what a client has, also after the Secret is gone, None where it is not known."""

    def drop_credential(self, secret: Ref, fingerprint: str) -> None:
        """Forget a credential that is revoked."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the work at brokers touches beside brokers.

    `keep` writes the ledger's ConfigMap over the one that is known and raises `Overtaken` where it
    is another by now, `concern` has keys looked at again, `tell` makes an Event, `tally` counts.
    """

    reads: Secrets
    permit: Permit
    credentials: Credentials
    keep: Callable[[MessageBroker, Manifest], Awaitable[None]]
    concern: Callable[[Keys], None]
    tell: Callable[[Key, str, Notice], Awaitable[None]]
    tally: Tally = field(default_factory=Tally)


class BrokerWork:
    """All that is under way at brokers. `close` ends it."""

    def __init__(self, world: World, clock: Clock, surroundings: Surroundings) -> None:
        self._world = world
        self._clock = clock
        self._around = surroundings
        self._connections = Connections(surroundings.reads)
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
        look = self._world.brokers.look(step.broker)
        self._world.brokers.saw(step.broker, replace(look, busy=True))
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
        except Overtaken:
            self._failed(ref, None)
        except (BrokerError, ApiError, TimeoutError) as error:
            affected |= self._failed(ref, fault_of(error, ref))
        except Exception as error:  # the edge: one broker must not stop the others
            name = type(error).__name__
            log.error("work at a broker failed", broker=str(ref), error=name, exc_info=True)  # noqa: G201
            affected |= self._failed(ref, Fault("InternalError", f"{name}; see the operator's log"))
        finally:
            del self._tasks[ref]
            self._world.brokers.saw(ref, replace(self._world.brokers.look(ref), busy=False))
            if self._world.brokers.declared(ref) is None:  # gone meanwhile
                self._world.brokers.forget_look(ref)
                await self._connections.end(ref)
            self._around.concern(affected | self._world.rotations.concerned({broker_key(ref)}))

    async def _done(self, step: BackgroundStep) -> Keys:
        broker = self._world.brokers.declared(step.broker)
        if broker is None:
            return set()
        if isinstance(step, LookAt):
            return await self._look_at(broker)
        if isinstance(step, TurnAdmin):
            return await self._turn_admin(broker, step)
        return await self._change(broker, step)

    def _failed(self, ref: Ref, fault: Fault | None) -> Keys:
        """Note a try that failed; return whom it concerns, if the fault is another than before."""
        look = self._world.brokers.look(ref)
        tried = look.tried(self._clock.uptime(), fault)
        self._world.brokers.saw(ref, tried if fault else replace(tried, failures={}))
        if fault is None:
            return set()
        self._around.tally.broker_failed(ref, fault.reason)
        log.warning("broker cannot be worked with", broker=str(ref), reason=fault.reason)
        return self._world.brokers.concerned_by_state(ref) if fault != look.fault else set()

    # Looking

    async def _look_at(self, broker: MessageBroker) -> Keys:
        brokers, before = self._world.brokers, self._world.brokers.look(broker.ref)
        connected = await self._connections.renewed(broker)
        observed = await connected.adapter.observe()
        declared = brokers.declared(broker.ref)
        if declared is None or not _same(declared, broker):  # then another may have been seen
            raise Overtaken
        # whoever was ever forgotten when something changed is forgotten until now and no longer
        self._world.judged.clear()
        now = self._clock.uptime()
        brokers.saw(
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
            log.warning(
                "admin credential not replaced", broker=str(broker.ref), reason=fault.reason
            )
        look = self._world.brokers.look(broker.ref).anew()
        noted = replace(look, admin_fault=fault, admin_tried_at=self._clock.uptime())
        self._world.brokers.saw(broker.ref, noted)
        return set()

    # Changing

    async def _change(self, broker: MessageBroker, step: ChangeBroker) -> Keys:
        connected = self._connections.known(broker.ref)
        if connected is None:
            raise Overtaken
        await self._keep(broker, step.before)
        if step.without_ledger:
            await self._tell_of_loss(broker)
        if step.removals or step.revocations:
            await self._require_ledger(broker)
        self._require_permit()
        failed = await self._apply(connected.adapter, step)
        if step.revocations:
            failed |= await self._make_sure(broker, connected.adapter, step, failed)
        await self._keep(broker, _as_it_went(step, failed))
        self._note_changed(broker.ref, step, failed)
        count_changes(self._around.tally, step, failed)
        for place in step.revocations:
            if place not in failed:
                self._forget(broker, place, step.before)
        await self._tell(broker, step, failed)
        return self._world.brokers.of_principals(broker.ref, _principals(step))

    async def _apply(self, adapter: Broker, step: ChangeBroker) -> Failed:
        """Carry out a change, and return what failed. A credential whose Secret does not hold it
        fails, and the rules of its principal wait.
        """
        found = [(each, self._credential(each)) for each in step.telling]
        lacking = {(each.principal, each.slot) for each, held in found if held is None}
        waiting = {principal for principal, _ in lacking}
        failures = await adapter.apply(
            Batch(
                tuple(held for _, held in found if held is not None),
                tuple(rule for rule in step.additions if rule.principal not in waiting),
                step.removals,
                step.revocations,
            )
        )
        kept_back = [rule for rule in step.additions if rule.principal in waiting]
        return {
            **dict.fromkeys(lacking, SPOILT),
            **dict.fromkeys(kept_back, "kept back: its credential failed"),
            **{failure.change: failure.message for failure in failures},
        }

    def _credential(self, telling: Telling) -> Credential | None:
        """Return what is told; whose it is was planned, and is never believed of a Secret."""
        found = self._around.credentials.credential(telling.secret, telling.fingerprint)
        whose = (telling.principal, telling.slot)
        return found if found is not None and (found.principal, found.slot) == whose else None

    async def _keep(self, broker: MessageBroker, ledger: Ledger) -> None:
        if self._world.brokers.ledger(broker.ref) != ledger:
            self._require_permit()
            manifest = ledger_manifest(self._world.own_namespace, broker, ledger)
            await self._around.keep(broker, manifest)
            if self._world.brokers.ledger(broker.ref) != ledger:
                raise taken(Ref.of(manifest))

    async def _require_ledger(self, broker: MessageBroker) -> None:
        """Make sure that the ledger is the one that was planned with: a copy that is behind knows
        nothing of what another has granted since, and must not take that away.
        """
        known = self._world.brokers.ledgers.get(broker.ref)
        if known is None:
            raise Overtaken
        try:
            found = await self._around.reads.get("ConfigMap", known.ref)
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise Overtaken from error
            raise
        if kept_ledger(found).ledger != known.ledger:
            raise Overtaken

    async def _require_all(self, broker: MessageBroker) -> None:
        await self._require_ledger(broker)
        self._require_permit()

    def _require_permit(self) -> None:
        if self._around.permit.remaining <= 0:
            raise Overtaken

    async def _make_sure(
        self, broker: MessageBroker, adapter: Broker, step: ChangeBroker, failed: Failed
    ) -> Failed:
        """End the connections of those who lost their last credential, and try what was revoked.

        Returns the credentials that still let somebody in.
        """
        revoked = [place for place in step.revocations if place not in failed]
        left = {principal for principal, _ in step.after.credentials}
        await adapter.disconnect({principal for principal, _ in revoked} - left)
        still: Failed = {}
        for place in revoked[:TRIED]:
            login = self._login(broker, place, step.before)
            if login is not None and await adapter.admits(login):
                still[place] = "it still lets somebody in; it is revoked once more"
        return still

    def _login(self, broker: MessageBroker, place: Place, ledger: Ledger) -> Login | None:
        secret = _secret_of(broker, place)
        fingerprint = ledger.credentials.get(place, "")
        return self._around.credentials.login(secret, fingerprint) if secret else None

    def _forget(self, broker: MessageBroker, place: Place, ledger: Ledger) -> None:
        secret = _secret_of(broker, place)
        if secret is not None:
            fingerprint = ledger.credentials.get(place, "")
            self._around.credentials.drop_credential(secret, fingerprint)

    async def _tell_of_loss(self, broker: MessageBroker) -> None:
        note = (
            "the ledger of what Troth made at the broker is gone; what is declared was taken in, "
            "and nothing was removed for that"
        )
        await self._tell_broker(broker, Notice("LedgerLost", note, "Warning"))

    async def _tell_broker(self, broker: MessageBroker, notice: Notice) -> None:
        await self._around.tell(broker_key(broker.ref), broker.metadata.uid, notice)

    async def _tell(self, broker: MessageBroker, step: ChangeBroker, failed: Failed) -> None:
        if step.repaired and not failed:
            note = "the broker did not have what is declared, and was put right"
            await self._tell_broker(broker, Notice("Repaired", note))

    def _note_changed(self, ref: Ref, step: ChangeBroker, failed: Failed) -> None:
        look, now = self._world.brokers.look(ref), self._clock.uptime()
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
        self._world.brokers.saw(ref, noted)


def _same(one: MessageBroker, other: MessageBroker) -> bool:
    """Say whether two are the same broker, described alike."""
    return (one.metadata.uid, one.spec) == (other.metadata.uid, other.spec)


def _principals(step: ChangeBroker) -> set[str]:
    told = {each.principal for each in step.telling}
    ruled = {rule.principal for rule in (*step.additions, *step.removals)}
    return told | ruled | {principal for principal, _ in step.revocations}


def _as_it_went(step: ChangeBroker, failed: Failed) -> Ledger:
    """Return the ledger after a change: what failed is as it was before."""
    before, after = step.before, step.after
    credentials = dict(after.credentials)
    for change in failed:
        if isinstance(change, tuple) and change in before.credentials:
            credentials[change] = before.credentials[change]
    kept = frozenset(rule for rule in before.rules - after.rules if rule in failed)
    return replace(after, rules=after.rules | kept, credentials=credentials)


def _dated(shown: AdminShown, before: AdminShown | None, uptime: float) -> AdminShown:
    """Return an admin credential with since when it is known to administer."""
    same = before is not None and replace(shown, since=before.since) == before
    return replace(shown, since=before.since if same and before is not None else uptime)


def _secret_of(broker: MessageBroker, place: Place) -> Ref | None:
    identity = identity_of(broker.spec.owns.principal_prefix, place[0])
    return credential_ref(identity, broker.ref) if identity is not None else None
