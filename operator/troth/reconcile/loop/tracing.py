"""The spans of a reconcile: its plans, the writes of its steps, and its work at brokers.

Without a tracer, each function returns the same object that does nothing. Attributes are names and
counts. They never hold a manifest, a message or an error's text.
"""

from collections.abc import Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from troth.cluster.errors import ApiError
from troth.planning.plan import Plan
from troth.planning.steps.brokers import ChangeAdminCredential, ChangeBroker
from troth.planning.steps.step import BackgroundStep, Step, Target, status_of
from troth.reconcile.apply.keys.key_maker import KeyNotReady
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.brokers.faults import StalePlan
from troth.reconcile.loop.lease_fence import LeaseLost
from troth.serving.tracing import NOTHING, Tracer
from troth.world.keys import Key

_OUTCOMES: dict[type[BaseException], str] = {
    TryAgain: "conflict",
    KeyNotReady: "awaits key",
    StalePlan: "stale plan",
    LeaseLost: "not leading",
}
"""Exceptions that are no failures, and the outcome that each stands for."""


def reconcile_span(tracer: Tracer | None, key: Key) -> AbstractContextManager[object]:
    """Return the span of a reconcile; `note_outcome` completes it."""
    if tracer is None:
        return NOTHING
    return tracer.span(f"reconcile {key.kind}", _named("resource", (key.kind, key.ref)), parent={})


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
    return _work(tracer, type(step).__name__, _named("target", step.target))


def status_span(tracer: Tracer | None, plan: Plan) -> AbstractContextManager[object]:
    """Return the span of a status write."""
    if tracer is None:
        return NOTHING
    return _work(tracer, "WriteStatus", _named("target", status_of(plan.key)))


def broker_span(tracer: Tracer | None, step: BackgroundStep) -> AbstractContextManager[object]:
    """Return the span of an observation or a batch of changes at a broker."""
    if tracer is None:
        return NOTHING
    about: dict[str, str | int] = {**_named("target", step.target)}
    if isinstance(step, ChangeBroker):
        about |= {
            "troth.broker.credentials": len(step.uploads),
            "troth.broker.grants": len(step.additions),
            "troth.broker.removals": len(step.removals),
            "troth.broker.revocations": len(step.revocations),
        }
    if isinstance(step, ChangeAdminCredential):
        about["troth.broker.admin_change"] = str(step.change)
    return _work(tracer, type(step).__name__, about)


def note_refused(tracer: Tracer | None, failed: Sized) -> None:
    """Set how many changes of the current batch the broker did not carry out."""
    if tracer is not None:
        tracer.current().set({"troth.broker.refused": len(failed)})


@contextmanager
def _work(tracer: Tracer, name: str, about: Mapping[str, str | int]) -> Iterator[None]:
    with tracer.span(name, about, expected=(*_OUTCOMES, ApiError)) as span:
        try:
            yield
        except tuple(_OUTCOMES) as error:
            span.set({"troth.outcome": _OUTCOMES[type(error)]})
            raise
        except ApiError as error:
            span.fail(error.reason)
            span.set({"http.response.status_code": error.status})
            raise


def _named(what: str, target: Target) -> dict[str, str]:
    kind, ref = target
    found = {"kind": kind, "namespace": ref.namespace, "name": ref.name}
    return {f"troth.{what}.{name}": value for name, value in found.items() if value}


def _reason(status: Mapping[str, Any] | None) -> str:
    conditions = (status or {}).get("conditions") or ()
    return next((str(each["reason"]) for each in conditions if each["type"] == "Ready"), "")
