"""Plan of a `MessageBroker` whose spec is invalid, such as one that a newer version stored."""

from dataclasses import replace
from datetime import datetime

from troth.planning import status as verdicts
from troth.planning.brokers.finalizer import PATIENCE, remove_finalizer_of_unreadable
from troth.planning.plan import Plan
from troth.planning.steps.objects import Remove
from troth.world.facts.broker import KeptLedger, Ledger
from troth.world.facts.objects import Unreadable
from troth.world.keys import Key
from troth.world.world import World


def plan_unreadable(key: Key, found: Unreadable, world: World, now: datetime) -> Plan:
    """Return a plan that reports an unreadable broker, or ends its deletion.

    Troth cannot revoke anything there. If the ledger has grants, the deletion waits for a limited
    time, in which a person can correct the resource or install a version that reads it.
    """
    plan = verdicts.unreadable_plan(key, found, now)
    kept = world.brokers.ledgers.get(key.ref)
    step = remove_finalizer_of_unreadable(key, found, _left_behind(kept, found))
    if step is None:
        return plan
    ends = datetime.fromisoformat(found.manifest["metadata"]["deletionTimestamp"]) + PATIENCE
    if step.warning and now < ends:
        minutes = PATIENCE.total_seconds() / 60
        because = (
            f"{found.because}. Until it is corrected, Troth cannot revoke its grants at the "
            f"broker; the deletion waits for that for at most {minutes:.0f} minutes"
        )
        return replace(
            verdicts.unreadable_plan(key, replace(found, because=because), now), due=ends
        )
    ledger = (Remove("ConfigMap", kept.ref, kept.uid),) if kept is not None else ()
    return replace(plan, steps=(*ledger, step))


def _left_behind(kept: KeptLedger | None, found: Unreadable) -> str:
    """Return what stays at the broker, "" if that is nothing."""
    why = f"the MessageBroker cannot be read: {found.because}"
    if kept is None:
        return ""
    if kept.fault is not None:
        return f"all grants and credentials that Troth made stay at the broker, because {why}"
    if replace(kept.ledger, left=frozenset()) == Ledger():
        return ""
    principals = sorted(kept.ledger.principals)
    return (
        f"{len(kept.ledger.rules)} rules and the credentials of {len(principals)} principals "
        f"({', '.join(principals)}) stay at the broker, because {why}"
    )
