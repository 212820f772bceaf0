"""The loop: the world says which keys to look at, planning says what they ask, steps make it so.

One direction. After the steps the same key is planned once more, so that the status tells of what
is and not of what was meant; where that second plan still asks for something, the key comes back.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from troth.cluster.api import ApiError
from troth.pki.errors import PKIError
from troth.planning.plan import Apply, Plan, Step
from troth.planning.planner import plan as make_plan
from troth.reconcile.clock import Clock
from troth.reconcile.events import Notice, event, repair, transitions
from troth.reconcile.execute import Executor, TryAgain, Writes, needed
from troth.reconcile.keyring import Keyring
from troth.reconcile.queue import WorkQueue
from troth.resources.references import Ref
from troth.world.facts import Manifest
from troth.world.world import Key, World

PASSES = 3
"""How often a key is planned in one visit: steps of one pass may enable those of the next."""

log = structlog.get_logger()


class Server(Writes, Protocol):
    """What the engine needs of an API server."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object, here an Event."""


class Permit(Protocol):
    """Whether this copy may write."""

    @property
    def remaining(self) -> float:
        """For how many seconds it surely may."""

    async def gained(self) -> None:
        """Wait until it may."""


@dataclass(slots=True)
class Tally:
    """What the engine did, for metrics. Called with the kind, the outcome, and seconds."""

    visited: Callable[[str, str, float], None] = field(default=lambda *_: None)


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
    ) -> None:
        self.world = World(own_namespace)
        self.queue = WorkQueue(clock)
        self._keyring = Keyring(own_namespace)
        self._server = server
        self._clock = clock
        self._permit = permit
        self._instance = instance
        self._tally = tally or Tally()
        self._executor = Executor(server, self.world, self._keyring, clock)
        self._in_place: dict[Key, dict[tuple[str, Ref], Manifest]] = {}

    # Sink

    def observe(self, manifest: Manifest) -> None:
        """Take in an object as the API server has it now."""
        if manifest["kind"] == "Secret":
            self._keyring.observe(manifest)
        self.world.uptime = self._clock.uptime()
        self.queue.add(self.world.observe(manifest))

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object was gone at a resource version."""
        affected = self.world.forget(kind, ref, version)
        if kind == "Secret" and affected:
            self._keyring.forget(ref)
        self.queue.add(affected)

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
            if not steps:
                break
            try:
                for step in steps:
                    notices += await self._carry_out(step, plan)
            except TryAgain:
                return None
            except (ApiError, PKIError) as error:
                self._note_refusal(step, error)
                plan = self._plan(key)
                break
        self._remember(plan)
        await self._report(plan, notices)
        return None if steps and needed(plan, self.world) else plan

    def _plan(self, key: Key) -> Plan:
        self.world.uptime = self._clock.uptime()
        return make_plan(key, self.world, self._clock.now())

    async def _carry_out(self, step: Step, plan: Plan) -> list[Notice]:
        notice = repair(step, plan)
        if isinstance(step, Apply):
            # only what was in place just so before, and is not so now, was changed by somebody
            before = self._in_place.get(plan.key, {}).get(_place(step))
            notice = notice if before == step.manifest else None
        affected = await self._executor.execute(step)
        self.queue.add(affected - {plan.key})
        log.info("step", key=str(plan.key), step=type(step).__name__)
        return [notice] if notice else []

    def _remember(self, plan: Plan) -> None:
        """Keep what was asked for, to tell a changed declaration from a child changed by hand."""
        if plan.status is None:
            self._in_place.pop(plan.key, None)
        else:
            self._in_place[plan.key] = {
                _place(step): step.manifest for step in plan.steps if isinstance(step, Apply)
            }

    def _note_refusal(self, step: Step, error: ApiError | PKIError) -> None:
        """Remember why a write was refused, for the status; a Secret's refusal may quote it."""
        manifest = getattr(step, "manifest", None)
        if manifest is None:
            return
        kind, ref = manifest["kind"], Ref.of(manifest)
        quotable = kind != "Secret" or isinstance(error, PKIError)
        message = str(error) if quotable else error.reason
        self.world.refused[kind, ref] = f"{kind} {ref} cannot be written: {message}"
        log.warning("step refused", kind=kind, ref=str(ref), reason=error.reason)

    async def _report(self, plan: Plan, notices: list[Notice]) -> None:
        """Write the status if it differs, and tell of transitions."""
        if plan.status is None:
            return
        if plan.status != plan.previous_status:
            notices = [*notices, *transitions(plan)]
            self.queue.add(await self._executor.status(plan) - {plan.key})
        for notice in notices:
            try:
                await self._server.create(event(plan, notice, self._instance, self._clock.now()))
            except ApiError as error:
                log.warning("event lost", key=str(plan.key), reason=error.reason)


def _place(step: Apply) -> tuple[str, Ref]:
    return step.manifest["kind"], Ref.of(step.manifest)
