"""The reconcile loop: the world yields keys, planning computes steps, and the engine applies them.

Data flows in one direction. After its steps, a key is planned again, so that the status reports the
actual state and not the intended one. If the second plan still has steps, the key is requeued.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.pki.errors import PKIError
from troth.planning.plan import Plan
from troth.planning.planner import plan as make_plan
from troth.planning.planner import plan_after_failure
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.step import BackgroundStep, Step, Target
from troth.reconcile.apply.execute import Executor
from troth.reconcile.apply.intake import take_in, warn_if_unreadable
from troth.reconcile.apply.keys.key_maker import KeyMaker, KeyNotReady
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.secrets.credential_secrets import CredentialError
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.brokers.faults import StalePlan
from troth.reconcile.brokers.observer import BrokerObserver
from troth.reconcile.brokers.work import Background, BrokerWork, Surroundings
from troth.reconcile.drift.applied_digests import AppliedDigests
from troth.reconcile.drift.backoff import Repairs
from troth.reconcile.events.notice import Notice
from troth.reconcile.events.recorder import EventRecorder
from troth.reconcile.events.transitions import has_new_leaf, relabelled, repair
from troth.reconcile.loop import tracing
from troth.reconcile.loop.queue import WorkQueue
from troth.reconcile.loop.reporting import Reporter
from troth.reconcile.loop.server import Server
from troth.reconcile.loop.sharding import Sharding
from troth.reconcile.loop.step_run import StepRun, awaits_key
from troth.reconcile.loop.turns import Turns
from troth.reconcile.runtime.clock import Clock, Moments
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.reconcile.runtime.lease_fence import Fence, LeaderFence, LeaseLost, leading
from troth.reconcile.status.debounce import StatusDebounce
from troth.reconcile.status.readiness import Faults, with_refusals
from troth.reconcile.status.rejected_writes import LastingConflict, RejectedWrites, StepFailed
from troth.reconcile.status.stall_delay import StallDelay
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.watched import EVERYWHERE, Watched
from troth.world.facts.objects import Manifest
from troth.world.index.workloads import Workloads
from troth.world.keys import ISSUER_VIEW, Key, broker_key, status_key
from troth.world.origin import log_fields
from troth.world.outcomes.writes import NarrowingUnapplied
from troth.world.world import World

REFUSALS = (ApiError, PKIError, CredentialError)
"""Errors that fail one step without affecting the others."""
KEY_WAIT = timedelta(seconds=10)
"""Time for which a status waits for a private key that is being generated."""
PASSES = 4
"""Maximum plans of a key in one reconcile: steps of one pass may enable steps of the next."""

log = structlog.get_logger()


class Engine:
    """Reconciles the cluster with the declared resources. It is the sink of the informers."""

    def __init__(
        self,
        server: Server,
        own_namespace: str,
        *,
        clock: Clock,
        leader_fence: LeaderFence,
        shard_fences: Sequence[Fence] = (),
        instance: str = "troth",
        instrumentation: Instrumentation | None = None,
        rollouts: bool = False,
        watched: Watched = EVERYWHERE,
        status_debounce: StatusDebounce | None = None,
        stall_delay: StallDelay | None = None,
    ) -> None:
        self.world = World(own_namespace, Registry(watched), Workloads(enabled=rollouts))
        self._instrumentation = instrumentation or Instrumentation()
        self._tracer = self._instrumentation.tracer
        self.sharding = Sharding(leader_fence, shard_fences)
        self.queue = WorkQueue(clock, self._instrumentation.waited, self.sharding.takes)
        self._keyring = Keyring(own_namespace)
        self._clock = clock
        self._moments = Moments(clock)
        self._leader_fence = leader_fence
        self.key_maker = KeyMaker(self.queue.add)
        self._executor = Executor(server, self.world, self._keyring, clock, self.key_maker.take)
        surroundings = Surroundings(
            reads=server,
            leader_fence=self.sharding.central,
            credentials=self._keyring,
            keep=self._keep_ledger,
            concern=self.queue.add,
            record_event=self._record_for,
            instrumentation=self._instrumentation,
        )
        self.background: Background = BrokerWork(self.world, clock, surroundings)
        self.observer = BrokerObserver(self.world, clock, surroundings, leader_fence)
        self._turns = Turns()
        self.refusals = RejectedWrites(self.world, clock)
        self.repairs = Repairs(self.world, clock, self._executor.alterations)
        self.faults = Faults()
        self.applied = AppliedDigests(self.world)
        self.event_recorder = EventRecorder(server.create, leader_fence)
        self._reporter = Reporter(
            self._executor,
            self.event_recorder,
            self.queue,
            clock=clock,
            refusals=self.refusals,
            repairs=self.repairs,
            instance=instance,
            instrumentation=self._instrumentation,
            status_debounce=status_debounce or StatusDebounce(),
            stall_delay=stall_delay or StallDelay(),
        )

    async def close(self) -> None:
        """Cancel the work outside the reconcile loop."""
        await self.background.close()
        await self.observer.close()
        await self.key_maker.close()
        await self.event_recorder.close()

    @property
    def uptime(self) -> float:
        """Seconds since this process started."""
        return self._clock.uptime()

    # Sink

    def observe(self, manifest: Manifest) -> None:
        """Take in the current state of an object, and queue the affected keys."""
        self.repairs.observe(manifest)
        affected = take_in(manifest, self.world, self._keyring, self.uptime)
        changed = Key(manifest["kind"], Ref.of(manifest))
        self.queue.add(affected - self._executor.echoes(manifest), changed)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object did not exist at a resource version."""
        self.repairs.forget(kind, ref)
        self.queue.add(self.world.forget(kind, ref, version, self.uptime))
        warn_if_unreadable(self.world, kind, ref)
        if kind == "Secret" and not self.world.knows(kind, ref):
            self._keyring.forget(ref)
            self.applied.forget_secret(ref)
        if kind == "MessageBroker" and self.world.brokers.declared(ref) is None:
            self.background.disconnect(ref)
            self.observer.disconnect(ref)

    # Work

    async def work(self) -> None:
        """Reconcile queued keys while this replica is the leader, until cancelled."""
        while True:
            if self._leader_fence.remaining <= 0:
                await self._leader_fence.gained()
                self.queue.count_waits_from_now()
            key = await self.queue.get()
            if self.sharding.only_observes(key):
                self.queue.done(key, self.observer.visit(key))
            else:
                with tracing.reconcile_span(self._tracer, key):
                    await self._visit(key)
            # Neither a key nor a visit that writes nothing waits for anything, and after a restart
            # there are thousands. Leases and probes come between them.
            await asyncio.sleep(0)

    async def _visit(self, key: Key) -> None:
        started = time.perf_counter()
        outcome = "error"
        settled: Plan | None = None
        try:
            async with leading(self.sharding.fence_of(key)):
                settled = await self._reconcile(key)
            outcome = "settled" if settled is not None else "again"
            if settled is None:
                self.queue.retry(key)
            elif key in self.key_maker:
                self.queue.hold(key, settled.due)
            else:
                self.queue.done(key, settled.due)
        except LeaseLost:  # no fault of the key, which continues with the next lease
            outcome = "not leading"
            self.queue.put_back(key)
            await asyncio.sleep(0)  # a lease that ends is reported by another task
        except ApiError as error:
            log.warning("write failed", key=str(key), **logged(error))
            self.queue.retry(key)
        except Exception as error:  # noqa: BLE001 - one resource must not stop the others
            await self._report_fault(key, error)
            self.queue.retry(key)
        finally:
            self._instrumentation.visited(key.kind, outcome, time.perf_counter() - started)
            tracing.note_outcome(self._tracer, outcome, settled)

    async def _reconcile(self, key: Key) -> Plan | None:
        """Reconcile one key; return the final plan, or None to retry."""
        notices: list[Notice] = []
        steps: list[Step] = []
        failed: set[Target] = set()
        waiting: dict[Target, KeyAlgorithm] = {}
        errors: tuple[Exception, ...] = ()
        uid = ""
        for _ in range(PASSES):
            await self._turns.take()
            plan = self._plan(key)
            uid = plan.uid or uid
            errors = errors or plan.errors
            steps = plan.pending(self.world)
            if self._settle(plan, steps):
                plan = self._plan(key)
            # a failed step is not retried in this reconcile; steps that follow from it are applied
            left = [
                step
                for step in steps
                if step.target not in failed
                and not awaits_key(step, waiting)
                and not self.repairs.wait(key, step)
            ]
            if not left:
                break
            run = await self._carry_out_all(left, plan, notices)
            failed |= run.failed
            waiting |= run.waiting
            if run.progressed and not failed:
                self.queue.got_on(key)
            if run.overtaken:
                self._reporter.record(plan, notices)
                return None
        else:  # the last steps may be in place by now, or undone each time
            plan = self._plan(key)
            steps = plan.pending(self.world)
            if self._settle(plan, steps):
                plan = self._plan(key)
        self.applied.remember(plan)
        unchecked = key.kind == ISSUER_VIEW and plan.due is not None
        if (errors or not unchecked) and self.faults.note(key, errors):
            self.queue.add({status_key(key)} - {key})
        waiting = {step.target: step.algorithm for step in steps if awaits_key(step, waiting)}
        if self._request_keys(key, waiting) and not errors and not failed:
            self._reporter.record(plan, notices)
            return plan.by(self._clock.now(), KEY_WAIT.total_seconds())
        # a step may have removed the last finalizer, and Events about that need the UID
        plan = await self._reporter.report(replace(plan, uid=plan.uid or uid), notices)
        left = plan.pending(self.world) if steps else []
        left = [step for step in left if not awaits_key(step, waiting)]
        waits = [self.repairs.wait(key, step) for step in left]
        if self.faults.of(key) or not all(waits):
            return None
        return plan.by(self._clock.now(), *waits, self.repairs.due(key, waiting))

    def _plan(self, key: Key) -> Plan:
        self.queue.caught_up(key)
        moment = self._moments.read()
        with self._turns.counted(), tracing.plan_span(self._tracer):
            plan = make_plan(key, self.world, moment)
            if plan.unapplied is not None:
                affected = self.world.observe_outcome(NarrowingUnapplied(key.ref, plan.unapplied))
                if affected:  # the identity's own edges depend on it, too
                    self.queue.add(affected - {key})
                    plan = make_plan(key, self.world, moment)
        return with_refusals(plan, self.refusals, self.repairs, self.faults, moment.now)

    def _request_keys(self, key: Key, waiting: Mapping[Target, KeyAlgorithm]) -> bool:
        """Request the private keys that steps wait for; return whether a request is new."""
        if not waiting:
            self.key_maker.withdraw(key)
        new = [self.key_maker.request(key, target, each) for target, each in waiting.items()]
        return any(new)

    async def _carry_out_all(self, steps: list[Step], plan: Plan, notices: list[Notice]) -> StepRun:
        """Carry out all steps that can be carried out. A lasting conflict counts as a refusal."""

        async def carry_out(step: Step) -> Exception | None:
            try:
                with tracing.step_span(self._tracer, step):
                    notices.extend(await self._carry_out(step, plan))
            except KeyNotReady:
                raise
            except TryAgain as again:
                self.queue.add(again.affected - {plan.key})
                if not self.refusals.lasts(plan.key, step):
                    raise
                error: Exception = LastingConflict()
            except REFUSALS as refusal:
                error = refusal
            except Exception as unexpected:  # noqa: BLE001 - one step must not stop the others
                log.error("step failed", key=str(plan.key), **log_fields(unexpected))  # noqa: TRY400
                error = StepFailed(unexpected)
            else:
                return None
            self._note_refusal(plan.key, step, error)
            return error

        run = StepRun(carry_out)
        await run.run(steps)
        return run

    async def _carry_out(self, step: Step, plan: Plan) -> list[Notice]:
        notice = repair(step, plan)
        if notice and not self.applied.was_changed(step, plan):
            notice = None
        if isinstance(step, BackgroundStep):
            self.background.begin(step)
            await asyncio.sleep(0)  # begin now, not only after all keys that need no request
            return []
        written = self.repairs.before(plan, step)
        affected = await self._executor.execute(step)
        self.repairs.after(written)
        if self.refusals.done(plan.key, step):
            self.queue.add({status_key(plan.key)} - {plan.key})
        if isinstance(step, IssueLeaf) and notice and not has_new_leaf(step, plan, self.world):
            notice = relabelled(step)
        self.applied.carried_out(step)
        self.queue.add(affected - {plan.key})
        log.info("step", key=str(plan.key), step=type(step).__name__)
        return [notice] if notice else []

    def _note_refusal(self, key: Key, step: Step, error: Exception) -> None:
        """Record why a write failed, for the status."""
        self.refusals.note(key, step, error)
        self.queue.add({status_key(key)} - {key})
        kind, ref = step.target
        refused = logged(error) if isinstance(error, ApiError) else {"reason": type(error).__name__}
        log.warning("step refused", kind=kind, ref=str(ref), **refused)

    def _settle(self, plan: Plan, steps: list[Step]) -> bool:
        """Take in which writes are planned; return whether they change what the world records."""
        key = plan.key
        over = self.refusals.settle(key, steps)
        if over:
            self.queue.got_on(key)
        changed = self.repairs.review(plan, steps) or over
        if changed:
            self.queue.add({status_key(key)} - {key})
        return changed

    async def _report_fault(self, key: Key, error: Exception) -> None:
        """Report an exception that ended a reconcile in the status of the resource."""
        self.faults.note(key, (error,))
        self.queue.add({status_key(key)} - {key})
        try:
            plan = plan_after_failure(key, self.world, error, self._clock.now())
            async with leading(self.sharding.fence_of(key)):
                await self._reporter.report(plan, [])
        except Exception as another:  # noqa: BLE001 - the log and a metric report it
            log.error("status not written", key=str(key), **log_fields(another))  # noqa: TRY400

    async def _keep_ledger(self, broker: MessageBroker, manifest: Manifest) -> None:
        """Write a broker's ledger. Raises `StalePlan` if the ledger is not the known one."""
        try:
            kept = self.world.brokers.ledgers.get(broker.ref)
            affected = await self._executor.keep_ledger(manifest, kept)
        except TryAgain:
            raise StalePlan from None
        self.queue.add(affected - {broker_key(broker.ref)})

    async def _record_for(self, key: Key, uid: str, notice: Notice) -> None:
        self._reporter.record(Plan(key, uid), [notice])
