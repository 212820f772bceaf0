"""What a reconcile tells users: the status of its resource, and Events."""

from troth.cluster.errors import ApiError
from troth.planning.plan import Plan
from troth.reconcile.apply.execute import Executor, changes_status
from troth.reconcile.drift.backoff import Repairs
from troth.reconcile.events.notice import REPAIRED, Notice
from troth.reconcile.events.recorder import EventRecorder
from troth.reconcile.events.transitions import event, transitions
from troth.reconcile.events.unconfirmed import UnconfirmedNotices
from troth.reconcile.loop import tracing
from troth.reconcile.loop.queue import WorkQueue
from troth.reconcile.runtime.clock import Clock
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.reconcile.status.debounce import StatusDebounce
from troth.reconcile.status.rejected_writes import PASSING, RejectedWrites
from troth.reconcile.status.stall_delay import StallDelay
from troth.world.facts.objects import FIGHTING


class Reporter:
    """Writes statuses that changed, and posts Events."""

    def __init__(
        self,
        executor: Executor,
        event_recorder: EventRecorder,
        queue: WorkQueue,
        *,
        clock: Clock,
        refusals: RejectedWrites,
        repairs: Repairs,
        instance: str,
        instrumentation: Instrumentation,
        status_debounce: StatusDebounce,
        stall_delay: StallDelay,
    ) -> None:
        self._executor = executor
        self._event_recorder = event_recorder
        self._queue = queue
        self._clock = clock
        self._refusals = refusals
        self._repairs = repairs
        self._instance = instance
        self._instrumentation = instrumentation
        self._status_debounce = status_debounce
        self._stall_delay = stall_delay
        self._unconfirmed = UnconfirmedNotices()

    async def report(self, plan: Plan, notices: list[Notice]) -> Plan:
        """Write a changed status and post Events for transitions; return the plan to requeue by.

        An Event says at once what the status says of a stalled resource only later. Raises
        `ApiError` if the API server refuses the status.
        """
        now, uptime = self._clock.now(), self._clock.uptime()
        changes, notices = transitions(plan), [*self._unconfirmed.confirmed(plan), *notices]
        plan, stalls_in = self._stall_delay.apply(plan, now, uptime)
        plan = plan.by(now, stalls_in)
        changed = changes_status(plan)
        wait = self._status_debounce.wait(plan, uptime, rush=self._queue.rushed, changed=changed)
        if not wait and changed:
            wait = self._repairs.status_wait(plan)
        if wait:
            plan = plan.by(now, wait)
        elif plan.status is not None and changed:
            notices = [*notices, *changes]
            with self._unconfirmed.of(plan, notices):
                await self._write_status(plan)
        else:
            self._refusals.note_status(plan.key, None)  # the resource may be gone
        self.record(plan, notices)
        return plan

    def record(self, plan: Plan, notices: list[Notice]) -> None:
        """Post an Event for each notice."""
        for notice in notices:
            if notice.reason == REPAIRED:
                self._instrumentation.restored(plan.key.kind)
            self._event_recorder.record(event(plan, notice, self._instance, self._clock.now()))

    async def _write_status(self, plan: Plan) -> None:
        """Write a status. An Event reports a status write that is refused."""
        try:
            with tracing.status_span(self._instrumentation.tracer, plan):
                self._queue.add(await self._executor.status(plan))
        except ApiError as error:
            if error.status in PASSING:
                raise
            if sentence := self._refusals.note_status(plan.key, error):
                self.record(plan, [Notice("StatusRefused", sentence, "Warning")])
            raise
        self._refusals.note_status(plan.key, None)
        if sentence := self._repairs.status_written(plan):
            self.record(plan, [Notice(FIGHTING, sentence, "Warning")])
