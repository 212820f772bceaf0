"""The loop: the world says which keys to look at, planning says what they ask, steps make it so.

One direction. After the steps the same key is planned once more, so that the status tells of what
is and not of what was meant; where that second plan still asks for something, the key comes back.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from troth.cluster.errors import ApiError
from troth.pki.certificates import short
from troth.pki.errors import PKIError
from troth.planning.children import secret_ref
from troth.planning.plan import (
    Apply,
    BackgroundStep,
    IssueLeaf,
    Plan,
    Remove,
    Step,
    UpdateIssuer,
    UpdatePublic,
)
from troth.planning.planner import plan as make_plan
from troth.planning.webhook_steps import CompileEndpoint
from troth.reconcile.broker_admins import Secrets
from troth.reconcile.broker_faults import Overtaken
from troth.reconcile.brokers import BrokerWork, Surroundings
from troth.reconcile.clock import Clock
from troth.reconcile.credential_secrets import CredentialError
from troth.reconcile.events import event, relabelled, repair, transitions
from troth.reconcile.execute import Executor, needed
from troth.reconcile.keyring import Keyring
from troth.reconcile.notice import Notice
from troth.reconcile.permit import Permit
from troth.reconcile.places import place_of
from troth.reconcile.queue import WorkQueue
from troth.reconcile.served import InPlace, Served
from troth.reconcile.tally import Tally
from troth.reconcile.telling import Telling
from troth.reconcile.withheld import Withheld
from troth.reconcile.writer import TryAgain, Writes
from troth.resources.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.facts import Manifest, canonical
from troth.world.keys import ISSUER_VIEW, Key, broker_key, told_by
from troth.world.observe import BUNDLE, VIEW
from troth.world.workloads import Workloads
from troth.world.world import World

UNANSWERED = 0
OUT_OF_ORDER = frozenset({429, 503, 504})
"""Answers that say something of the API server, as to objects of a kind, and nothing of one."""
REFUSALS = (ApiError, PKIError, CredentialError)
"""What one step may be refused by, without a word on the others."""
PASSES = 4
"""How often a key is planned in one visit: steps of one pass may enable those of the next."""

log = structlog.get_logger()


class Server(Writes, Secrets, Protocol):
    """What the engine needs of an API server."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object, here an Event."""


class Background(Protocol):
    """What is done beside the visits of keys."""

    def begin(self, step: BackgroundStep) -> None:
        """Begin a step; the world is told at once that it is under way, and later how it went."""

    def gone(self, broker: Ref) -> None:
        """Let go of a broker that is not declared any more."""

    async def close(self) -> None:
        """End what is under way."""


class Engine:
    """Keeps the cluster in step with what is declared. Fed by informers, which it is a sink of."""

    def __init__(
        self,
        server: Server,
        own_namespace: str,
        *,
        clock: Clock,
        permit: Permit,
        instance: str = "troth",
        tally: Tally | None = None,
        rollouts: bool = False,
        withheld: Withheld | None = None,
    ) -> None:
        self.world = World(own_namespace, workloads=Workloads(enabled=rollouts))
        self.queue = WorkQueue(clock)
        self._keyring = Keyring(own_namespace)
        self._server = server
        self._clock = clock
        self._epoch = clock.now() - timedelta(seconds=clock.uptime())
        self._permit = permit
        self._instance = instance
        self._tally = tally or Tally()
        self._executor = Executor(server, self.world, self._keyring, clock)
        self.background: Background = BrokerWork(
            self.world,
            clock,
            Surroundings(
                reads=server,
                permit=permit,
                credentials=self._keyring,
                keep=self._keep_ledger,
                concern=self.queue.add,
                tell=self._tell_of,
                tally=self._tally,
            ),
        )
        self._refusals: dict[Key, set[tuple[str, Ref]]] = {}
        self._in_place = InPlace()
        self._served = Served()
        self.telling = Telling(server.create, permit)
        self._withheld = withheld or Withheld()

    async def close(self) -> None:
        """End what is done beside the visits."""
        await self.background.close()
        await self.telling.close()

    @property
    def uptime(self) -> float:
        """For how many seconds this process has been running."""
        return self._clock.uptime()

    # Sink

    def observe(self, manifest: Manifest) -> None:
        """Take in an object as the API server has it now."""
        if manifest["kind"] == "Secret" and self.world.is_news(manifest):
            self._keyring.observe(manifest)
        self.world.uptime = self._clock.uptime()
        self.queue.add(self.world.observe(manifest) - self._executor.echoes(manifest))

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object was gone at a resource version."""
        affected = self.world.forget(kind, ref, version)
        if kind == "Secret" and not self.world.knows(kind, ref):
            self._keyring.forget(ref)
            self._served.forget(ref)
        self.queue.add(affected)
        if kind == "MessageBroker" and self.world.brokers.declared(ref) is None:
            self.background.gone(ref)

    # Work

    async def work(self) -> None:
        """Work on keys while writing is permitted, until cancelled."""
        while True:
            await self._permit.gained()
            key = await self.queue.get()
            if self._permit.remaining > 0:
                await self._visit(key)
            else:  # lost while waiting; a timeout of nothing would let a first write slip out
                self.queue.retry(key)

    async def _visit(self, key: Key) -> None:
        started = time.perf_counter()
        outcome = "error"
        try:
            async with asyncio.timeout(self._permit.remaining):
                settled = await self._reconcile(key)
            outcome = "settled" if settled is not None else "again"
            if settled is None:
                self.queue.retry(key)
            else:
                self.queue.done(key, settled.due)
        except TimeoutError:
            outcome = "not leading"
            self.queue.retry(key)
        except ApiError as error:
            log.warning("write failed", key=str(key), status=error.status, reason=error.reason)
            self.queue.retry(key)
        except Exception as error:  # the loop's edge: one resource must not stop the others
            log.error("reconcile failed", key=str(key), error=type(error).__name__, exc_info=True)  # noqa: G201
            self.queue.retry(key)
        finally:
            self._tally.visited(key.kind, outcome, time.perf_counter() - started)

    async def _reconcile(self, key: Key) -> Plan | None:
        """Bring one resource into step; return the plan that holds then, None to come back."""
        notices: list[Notice] = []
        steps: list[Step] = []
        for _ in range(PASSES):
            plan = self._plan(key)
            steps = needed(plan, self.world)
            if self._let_go(key, steps):
                plan = self._plan(key)
            if not steps:
                break
            try:
                good = await self._carry_out_all(steps, plan, notices)
            except TryAgain:
                self._tell(plan, notices)
                return None
            if not good:
                plan = self._plan(key)
                if self._let_go(key, needed(plan, self.world)):  # the watch has shown it done
                    plan = self._plan(key)
                break
        self._remember(plan)
        plan = await self._report(plan, notices)
        return None if steps and needed(plan, self.world) else plan

    def _plan(self, key: Key) -> Plan:
        self.queue.caught_up(key)
        now = self._clock.now()
        self.world.uptime = self._clock.uptime()
        self.world.set_forward = self._set_forward(now)
        return make_plan(key, self.world, now)

    def _set_forward(self, now: datetime) -> timedelta:
        """Return by how many whole seconds the wall clock is ahead of where it would have gone."""
        ahead = now - self._epoch - timedelta(seconds=self._clock.uptime())
        return timedelta(seconds=max(round(ahead.total_seconds()), 0))

    async def _carry_out_all(self, steps: list[Step], plan: Plan, notices: list[Notice]) -> bool:
        """Carry out what can be, and say whether that was all.

        One write that is refused keeps nothing else back: a quota of one namespace is no reason to
        leave another without its roots, nor a Secret that somebody goes on changing one to leave a
        policy open. A server that is out of order for one kind is spared the rest of that kind,
        and one that cannot be reached all the rest. Raises `TryAgain` in the end where for some
        step the world has moved on.
        """
        good, overtaken = True, None
        spared: set[str] = set()
        for step in steps:
            kind, _ = place_of(step)
            if kind in spared:
                continue
            try:
                notices += await self._carry_out(step, plan)
            except TryAgain as error:
                overtaken = error
            except REFUSALS as error:
                self._note_refusal(plan.key, step, error)
                good = False
                status = error.status if isinstance(error, ApiError) else None
                if status == UNANSWERED:
                    break
                if status in OUT_OF_ORDER:
                    spared.add(kind)
        if overtaken is not None:
            raise overtaken
        return good

    async def _carry_out(self, step: Step, plan: Plan) -> list[Notice]:
        notice = repair(step, plan)
        # only what was in place just so before, and is not so now, was changed by somebody
        before = self._in_place.before(plan)
        match step:
            case Apply():
                notice = notice if before.get(place_of(step)) == _digest(step.manifest) else None
            case CompileEndpoint():
                notice = notice if before.get(place_of(step)) == _compiled(step) else None
            case UpdatePublic():
                known = before.get(place_of(step))
                notice = notice if known == _digest(step.manifest["stringData"]) else None
            case UpdateIssuer():
                notice = notice if self._served.was_changed(step) else None
        if isinstance(step, BackgroundStep):
            self.background.begin(step)
            await asyncio.sleep(0)  # at once, and not after every key that needs no request
            return []
        affected = await self._executor.execute(step)
        if isinstance(step, IssueLeaf) and notice and not self._has_new_leaf(step, plan):
            notice = relabelled(step)
        if isinstance(step, UpdateIssuer):
            self._served.in_place(step.ref, step.uid, step.data)
        self.queue.add(affected - {plan.key})
        log.info("step", key=str(plan.key), step=type(step).__name__)
        return [notice] if notice else []

    def _remember(self, plan: Plan) -> None:
        """Keep what was asked for, to tell a changed declaration from a child changed by hand."""
        self._remember_served(plan)
        if plan.status is None:
            self._in_place.forget(plan.key)
            if plan.key.kind != ISSUER_VIEW:  # else the plan of a resource that is gone
                self._refusals.pop(plan.key, None)
        else:
            in_place = {
                place_of(step): _digest(step.manifest)
                for step in plan.steps
                if isinstance(step, Apply)
            } | {
                place_of(step): _compiled(step)
                for step in plan.steps
                if isinstance(step, CompileEndpoint)
            }
            secret = self.world.secrets.get(secret_ref(plan.key.ref))
            if secret is not None and not any(
                isinstance(step, UpdatePublic) for step in plan.steps
            ):
                in_place["Secret", secret.ref] = _digest(secret.public)
            self._in_place.keep(plan, in_place)

    def _remember_served(self, plan: Plan) -> None:
        """Keep what an issuer works from, where it is just what was planned."""
        secret = self.world.tokens.named(plan.key.ref.name)
        pending = plan.key.kind == ISSUER_VIEW and plan.due is not None
        if secret is None or pending or any(isinstance(step, UpdateIssuer) for step in plan.steps):
            return
        match plan.key.kind:
            case "TrustDomain":
                self._served.in_place(secret.ref, secret.uid, {BUNDLE: secret.bundle})
            case "IssuerView":
                self._served.in_place(secret.ref, secret.uid, {VIEW: secret.view})

    def _has_new_leaf(self, step: IssueLeaf, plan: Plan) -> bool:
        secret = self.world.secrets.get(Ref.of(step.manifest))
        leaf = secret.leaf if secret else None
        known = (plan.previous_status or {}).get("certificate") or {}
        return leaf is None or short(leaf.fingerprint) != known.get("fingerprint")

    def _note_refusal(
        self, key: Key, step: Step, error: ApiError | PKIError | CredentialError
    ) -> None:
        """Remember why a write was refused, for the status; a Secret's refusal may quote it."""
        if isinstance(step, Remove):
            return
        kind, ref = place_of(step)
        message = str(error)
        if isinstance(error, ApiError) and kind != "Secret":
            message += f": {error.message}"
        self.world.refused[kind, ref] = f"{kind} {ref} cannot be written: {message}"
        self._refusals.setdefault(key, set()).add((kind, ref))
        self.queue.add({told_by(key)} - {key})
        log.warning("step refused", kind=kind, ref=str(ref), reason=error.reason)

    def _let_go(self, key: Key, steps: list[Step]) -> bool:
        """Forget refusals of writes that are not asked for any more; say whether there were any.

        The need may have passed, or the write was carried out and only its answer was lost.
        """
        asked = {place_of(step) for step in steps if not isinstance(step, Remove)}
        over = self._refusals.get(key, set()) - asked
        for place in over:
            self.world.refused.pop(place, None)
        if over:
            self.queue.got_on(key)
            self._refusals[key] -= over
            self.queue.add({told_by(key)} - {key})
        return bool(over)

    async def _report(self, plan: Plan, notices: list[Notice]) -> Plan:
        """Write the status if it differs, and tell of transitions; return when to come back."""
        wait = self._withheld.wait(plan, self._clock.uptime(), rush=self.queue.rushed)
        if wait:
            moment = self._clock.now() + timedelta(seconds=wait)
            plan = replace(plan, due=min(plan.due or moment, moment))
        elif plan.status is not None and plan.status != plan.previous_status:
            notices = [*notices, *transitions(plan)]
            self.queue.add(await self._executor.status(plan))
        self._tell(plan, notices)
        return plan

    async def _keep_ledger(self, broker: MessageBroker, manifest: Manifest) -> None:
        """Write a broker's ledger; raises `Overtaken` where it is not the one that is known."""
        try:
            kept = self.world.brokers.ledgers.get(broker.ref)
            affected = await self._executor.messaging.keep_ledger(manifest, kept)
        except TryAgain:
            raise Overtaken from None
        self.queue.add(affected - {broker_key(broker.ref)})

    async def _tell_of(self, key: Key, uid: str, notice: Notice) -> None:
        self._tell(Plan(key, uid), [notice])

    def _tell(self, plan: Plan, notices: list[Notice]) -> None:
        """Have an Event made of each notice."""
        for notice in notices:
            self.telling.tell(event(plan, notice, self._instance, self._clock.now()))


def _compiled(step: CompileEndpoint) -> bytes:
    return _digest({"manifest": step.manifest, "document": step.document, "keys": dict(step.keys)})


def _digest(content: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical(content)).digest()
