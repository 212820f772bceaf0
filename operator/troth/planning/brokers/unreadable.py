"""Plan of a `MessageBroker` whose spec is invalid, such as one that a newer version stored."""

from dataclasses import replace
from datetime import datetime

from troth.planning import verdicts
from troth.planning.grants.finalizer import (
    PATIENCE,
    left_behind,
    patience_for,
    remove_finalizer_of_unreadable,
)
from troth.planning.plan import Plan
from troth.planning.steps.objects import RemoveLedger
from troth.world.facts.broker import StoredLedger
from troth.world.facts.deletion import Deletion
from troth.world.facts.objects import Fault, Unreadable
from troth.world.keys import Key


def plan_unreadable(
    key: Key,
    found: Unreadable,
    kept: StoredLedger | None,
    removal_fault: Fault | None,
    now: datetime,
) -> Plan:
    """Return a plan that reports an unreadable broker, or ends its deletion.

    Troth cannot revoke anything there. If the ledger has grants, the deletion waits for a limited
    time, in which a person can correct the resource or install a version that reads it.
    """
    plan = verdicts.unreadable_plan(key, found, now)
    deletion = Deletion.of(found.manifest["metadata"])
    warning = left_behind(kept, f"the MessageBroker cannot be read: {found.because}")
    step = remove_finalizer_of_unreadable(key, deletion, warning)
    if deletion is None or step is None:
        return plan
    ends = patience_for(deletion)
    if step.warning and now < ends:
        minutes = PATIENCE.total_seconds() / 60
        because = (
            f"{found.because}. Until it is corrected, Troth cannot revoke its grants at the "
            f"broker; the deletion waits for that for at most {minutes:.0f} minutes"
        )
        return replace(
            verdicts.unreadable_plan(key, replace(found, because=because), now), due=ends
        )
    if kept is not None and not kept.leaving:  # without its broker, nothing would remove it
        if removal_fault is not None:
            because = f"{found.because}. Its deletion cannot end: {removal_fault.message}"
            plan = verdicts.unreadable_plan(key, replace(found, because=because), now)
        return replace(plan, steps=(RemoveLedger("ConfigMap", kept.ref, kept.uid, warning),))
    return replace(plan, steps=(step,))
