"""The order of a round, and what its probes saw.

A failed connection proves nothing unless the callee was up: it may just have been down. So a
caller with a declared edge connects before and after each probe that must fail:

1. Callers with declared edges make their probes, and at the end those of their edges again.
2. Pods without an edge try to connect.
3. Callers with a declared edge connect again to each port where a pod of step 2 failed. Where
   the server ended its connection, they send a request again.

Each step begins when all pods of the one before have ended, so no clocks are compared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeVar

from troth.audit.proving.probe import Probe, ProbeName, Target
from troth.documents.probes import MOST, STOPPED, UNMADE, Instruction, Outcome, PodReport, Seen
from troth.resources.references import Ref

T = TypeVar("T")

_MOST_TARGETS = MOST // 8
"""Number of targets in a pod: each has at most seven probes, the repetition included."""

_BROKEN = frozenset({Outcome.ALERT, Outcome.CLOSED})
"""Outcomes that prove a failure only if a caller gets an answer afterwards."""


class Control(Enum):
    """Purpose of making the probe of a declared edge once more."""

    REPEATED = auto()
    """After the probes of step 1."""
    AFTER = auto()
    """After those of step 2."""


@dataclass(frozen=True, slots=True)
class Task:
    """A probe as one of a pod's instructions, for the first time unless it is a control."""

    probe: Probe
    instruction: Instruction
    control: Control | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """The tasks of one pod."""

    caller: Ref | None
    tasks: tuple[Task, ...]

    @property
    def identities(self) -> list[str]:
        """Names of the identities whose Secrets it mounts, sorted."""
        return sorted(set().union(*(each.probe.identities for each in self.tasks)))


@dataclass(frozen=True, slots=True)
class Observed:
    """What is known about one probe after a round."""

    seen: Seen | None
    """What it saw, None if its pod gave no valid report."""
    answered: bool = False
    """Whether anything has answered its pod."""
    before: Seen | None = None
    """What a caller with a declared edge saw at the target earlier."""
    after: Seen | None = None
    """What such a caller saw there later."""
    reason: str = ""
    """Why there is no report, as a clause."""


@dataclass(slots=True)
class Round:
    """Collects what the pods of a round saw."""

    addresses: Mapping[Target, str]
    """Address of a Ready pod of each target that has one."""
    _seen: dict[Probe, tuple[Seen, bool]] = field(default_factory=dict)
    _controls: dict[tuple[Target, Control], Seen] = field(default_factory=dict)
    _reasons: dict[Probe, str] = field(default_factory=dict)

    def first(self, probes: Iterable[Probe]) -> list[Pod]:
        """Return the pods of callers with declared edges."""
        by_caller: dict[Ref | None, dict[Target, list[Probe]]] = {}
        for each in probes:
            if self._possible(each) and each.name is not ProbeName.UNDECLARED_EDGE:
                by_caller.setdefault(each.caller, {}).setdefault(each.target, []).append(each)
        return [
            Pod(caller, tuple(self._with_controls(chosen)))
            for caller, targets in by_caller.items()
            for chosen in _parts(targets.values(), _MOST_TARGETS)
        ]

    def second(self, probes: Iterable[Probe]) -> list[Pod]:
        """Return the pods without an edge."""
        by_caller: dict[Ref | None, list[Task]] = {}
        for each in probes:
            if self._possible(each) and each.name is ProbeName.UNDECLARED_EDGE:
                by_caller.setdefault(each.caller, []).append(self._task(each))
        return [
            Pod(caller, chosen)
            for caller, tasks in by_caller.items()
            for chosen in _parts(tasks, MOST)
        ]

    def third(self, probes: Iterable[Probe]) -> list[Pod]:
        """Return the pods that connect again where a pod without an edge could not, or where
        the server ended its connection, which a server that goes down does too.
        """
        undeclared = [
            (each.target, seen.outcome)
            for each, (seen, _) in self._seen.items()
            if each.name is ProbeName.UNDECLARED_EDGE
        ]
        broken = {target for target, outcome in undeclared if outcome in _BROKEN}
        failed = broken | {target for target, outcome in undeclared if outcome in STOPPED}
        by_caller: dict[Ref | None, list[Task]] = {}
        for each in probes:
            if each.target in failed and each.is_control and _has_connected(self._seen.get(each)):
                failed.discard(each.target)
                task = self._task(each, Control.AFTER)
                if each.target not in broken:
                    ask = Instruction(task.instruction.address, task.instruction.port)
                    task = replace(task, instruction=ask)
                by_caller.setdefault(each.caller, []).append(task)
        return [
            Pod(caller, chosen)
            for caller, tasks in by_caller.items()
            for chosen in _parts(tasks, MOST)
        ]

    def _possible(self, probe: Probe) -> bool:
        return not probe.obstacle and probe.target in self.addresses

    def _task(self, probe: Probe, control: Control | None = None) -> Task:
        ask = replace(probe.instruction, address=self.addresses[probe.target])
        return Task(probe, ask, control)

    def _with_controls(self, targets: Iterable[list[Probe]]) -> Iterator[Task]:
        every = [each for probes in targets for each in probes]
        every.sort(key=lambda each: not each.is_control)
        tried = {each.target for each in every if not each.is_control}
        yield from map(self._task, every)
        for each in every:
            if each.is_control and each.target in tried:
                yield self._task(each, Control.REPEATED)

    # Results

    def take(self, pod: Pod, report: PodReport | None, reason: str = "") -> None:
        """Record the report of a pod; without one, `reason` says why, as a clause."""
        if report is None:
            for each in pod.tasks:
                self._reasons.setdefault(each.probe, reason)
            return
        for each, seen in zip(pod.tasks, report.seen, strict=True):
            if each.control is None:
                self._seen[each.probe] = seen, report.answered
            else:
                self._controls[each.probe.target, each.control] = seen

    def drop(self, target: Target, reason: str) -> None:
        """Drop all that was seen at a target, because it is not what it was; say why."""
        for each in [each for each in self._seen if each.target == target]:
            del self._seen[each]
            self._reasons[each] = reason

    def observed(self, probe: Probe, probes: Iterable[Probe]) -> Observed:
        """Return what is known about a probe; `probes` are all of the round."""
        if probe.obstacle or probe.target not in self.addresses:
            return Observed(None, reason=probe.obstacle or "the callee has no Ready pod")
        seen, answered = self._seen.get(probe, (None, False))
        reason = "" if seen else self._reasons.get(probe, "its pod gave no report")
        found = [
            each
            for each in probes
            if each.is_control and each.target == probe.target and each in self._seen
        ]
        same = [each for each in found if each.caller == probe.caller]
        others = [each for each in found if each.caller != probe.caller]
        controls = others if probe.is_control else same or others
        before = min((self._seen[each][0] for each in controls), key=_distance, default=None)
        undeclared = probe.name is ProbeName.UNDECLARED_EDGE
        control = Control.AFTER if undeclared else Control.REPEATED
        after = self._controls.get((probe.target, control))
        return Observed(seen, answered, before, after, reason)


def _has_connected(found: tuple[Seen, bool] | None) -> bool:
    return found is not None and found[0].outcome not in STOPPED | UNMADE


def _distance(seen: Seen) -> tuple[int, int]:
    """Return how far a control is from an answer of the application; the nearest is the best."""
    order = list(type(seen.outcome))
    return -order.index(seen.outcome), seen.status


def _parts(items: Iterable[T], most: int) -> Iterator[tuple[T, ...]]:
    every: Sequence[T] = tuple(items)
    for start in range(0, len(every), most):
        yield tuple(every[start : start + most])
