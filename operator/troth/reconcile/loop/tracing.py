"""The spans of a reconcile: its plans, and the writes of its steps.

Without a tracer, each function returns the same object that does nothing.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from troth.planning.plan import Plan
from troth.planning.steps.step import BackgroundStep, Step, status_of
from troth.reconcile.apply.keys.key_maker import KeyNotReady
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.runtime.lease_fence import LeaseLost
from troth.reconcile.runtime.spans import Outcomes, named, work_span
from troth.serving.tracing import NOTHING, Tracer
from troth.world.keys import Key

_OUTCOMES: Outcomes = {
    TryAgain: "conflict",
    KeyNotReady: "awaits key",
    LeaseLost: "not leading",
}


def reconcile_span(tracer: Tracer | None, key: Key) -> AbstractContextManager[object]:
    """Return the span of a reconcile; `note_outcome` completes it."""
    if tracer is None:
        return NOTHING
    return tracer.span(f"reconcile {key.kind}", named("resource", (key.kind, key.ref)), parent={})


def note_outcome(tracer: Tracer | None, outcome: str, plan: Plan | None) -> None:
    """Set the outcome of the current reconcile, and the reason of its resource's `Ready`."""
    if tracer is not None:
        reason = _reason(plan.status) if plan is not None else ""
        tracer.current().set({"troth.outcome": outcome, "troth.reason": reason})
        if outcome == "error":
            tracer.current().fail(outcome)


def plan_span(tracer: Tracer | None) -> AbstractContextManager[object]:
    """Return the span of one plan."""
    return NOTHING if tracer is None else tracer.span("plan", {})


def step_span(tracer: Tracer | None, step: Step) -> AbstractContextManager[object]:
    """Return the span of one step's write. A step at a broker has `broker_span` instead."""
    if tracer is None or isinstance(step, BackgroundStep):
        return NOTHING
    return work_span(tracer, type(step).__name__, named("target", step.target), _OUTCOMES)


def status_span(tracer: Tracer | None, plan: Plan) -> AbstractContextManager[object]:
    """Return the span of a status write."""
    if tracer is None:
        return NOTHING
    return work_span(tracer, "WriteStatus", named("target", status_of(plan.key)), _OUTCOMES)


def _reason(status: Mapping[str, Any] | None) -> str:
    conditions = (status or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == "Ready"), "")
