"""Spans of work at a broker. Without a tracer, each function does nothing."""

from collections.abc import Sized
from contextlib import AbstractContextManager

from troth.planning.steps.brokers import ChangeAdminCredential, ChangeBroker
from troth.planning.steps.step import BackgroundStep
from troth.reconcile.brokers.faults import StalePlan
from troth.reconcile.runtime.lease_fence import LeaseLost
from troth.reconcile.runtime.spans import Outcomes, named, work_span
from troth.serving.tracing import NOTHING, Tracer

_OUTCOMES: Outcomes = {StalePlan: "stale plan", LeaseLost: "not leading"}


def broker_span(tracer: Tracer | None, step: BackgroundStep) -> AbstractContextManager[object]:
    """Return the span of an observation or a batch of changes at a broker."""
    if tracer is None:
        return NOTHING
    about: dict[str, str | int] = {**named("target", step.target)}
    if isinstance(step, ChangeBroker):
        about |= {
            "troth.broker.credentials": len(step.uploads),
            "troth.broker.grants": len(step.additions),
            "troth.broker.removals": len(step.removals),
            "troth.broker.revocations": len(step.revocations),
        }
    if isinstance(step, ChangeAdminCredential):
        about["troth.broker.admin_change"] = str(step.change)
    return work_span(tracer, type(step).__name__, about, _OUTCOMES)


def note_refused(tracer: Tracer | None, failed: Sized) -> None:
    """Set how many changes of the current batch the broker did not carry out."""
    if tracer is not None:
        tracer.current().set({"troth.broker.refused": len(failed)})
