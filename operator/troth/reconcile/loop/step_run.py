"""One run over the steps of a plan: which are carried out together, and when the run ends.

The order of steps matters, with one exception: the bundles of a trust domain are independent of
each other, as are the policies that isolate its namespaces, and there may be thousands. The run
writes those of one kind concurrently, after it has seen that the API server accepts the first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeGuard

from troth.cluster.errors import STORE_FULL, ApiError
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.objects import Apply, Remove
from troth.planning.steps.step import Step, Target, WriteStep
from troth.reconcile.apply.keys.key_maker import KeyNotReady
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.status.rejected_writes import OUT_OF_ORDER, UNANSWERED
from troth.resources.algorithms import KeyAlgorithm
from troth.world.facts.objects import ISOLATION_POLICY

AT_ONCE = 8
"""Maximum number of independent writes of one plan that are in progress at once."""

CarryOut = Callable[[Step], Awaitable[Exception | None]]
"""Carries out a step, or returns why it failed. Raises `TryAgain` for a conflict that may pass,
or `KeyNotReady` for a key that must be generated first."""


@dataclass(slots=True)
class StepRun:
    """Carries out all steps that can be carried out, and collects the targets of those that failed.

    A failed write does not hold back the others: an exceeded quota in one namespace must not leave
    another without its trust bundle, and a Secret that somebody keeps changing must not leave a
    NetworkPolicy open. If the API server is unavailable for one kind, the remaining steps of that
    kind are skipped; if it does not answer, or its etcd is full, all remaining steps are.
    `overtaken` is whether any step met a conflict that may pass. `progressed` is whether any write
    was carried out. `waiting` has the Secrets whose private key must be generated first.
    """

    carry_out: CarryOut
    failed: set[Target] = field(default_factory=set)
    overtaken: bool = False
    progressed: bool = False
    waiting: dict[Target, KeyAlgorithm] = field(default_factory=dict)
    _spared: set[str] = field(default_factory=set)
    _hopeless: bool = False

    async def run(self, steps: Iterable[Step]) -> None:
        """Carry out steps in their order, and independent ones concurrently."""
        for kind, group in groupby(steps, key=_independent_kind):
            rest = iter(list(group))
            if not kind:
                await self._each(rest)
                continue
            first = next(rest)
            await self._each(iter([first]))
            await _together([self._each(rest) for _ in range(AT_ONCE)])

    async def _each(self, steps: Iterator[Step]) -> None:
        """Carry out the steps of an iterator, which other runners may share."""
        for step in steps:
            if self._hopeless or step.target[0] in self._spared:
                self.failed.add(step.target)
                continue
            try:
                failure = await self.carry_out(step)
            except TryAgain:
                self.overtaken = True
                continue
            except KeyNotReady as pending:
                self.waiting[step.target] = pending.algorithm
                continue
            if failure is not None:
                self._note(step, failure)
            else:
                self.progressed |= isinstance(step, WriteStep)

    def _note(self, step: Step, error: Exception) -> None:
        self.failed.add(step.target)
        status = error.status if isinstance(error, ApiError) else None
        self._hopeless |= status == UNANSWERED or getattr(error, "reason", "") == STORE_FULL
        if status in OUT_OF_ORDER:
            self._spared.add(step.target[0])


def awaits_key(step: Step, waiting: Mapping[Target, KeyAlgorithm]) -> TypeGuard[IssueLeaf]:
    """Return whether a step met `KeyNotReady`. Other writes of its Secret do not wait for a key."""
    return isinstance(step, IssueLeaf) and waiting.get(step.target) == step.algorithm


def _independent_kind(step: Step) -> str:
    """Return the kind of a step that neither needs nor enables others of its plan, else ""."""
    kind, ref = step.target
    alone = kind == "ConfigMap" or (kind == "NetworkPolicy" and ref.name == ISOLATION_POLICY)
    return kind if alone and isinstance(step, Apply | Remove) else ""


async def _together(runners: Sequence[Awaitable[None]]) -> None:
    """Wait for all runners; an exception of one, or a cancellation, ends the others first."""
    tasks = [asyncio.ensure_future(each) for each in runners]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
