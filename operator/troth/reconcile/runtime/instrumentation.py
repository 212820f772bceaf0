"""Callbacks for metrics, and the tracer."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from troth.planning.steps.brokers import ChangeBroker
from troth.resources.references import Ref
from troth.serving.tracing import Tracer
from troth.trust.grants import Place, Rule
from troth.world.world import Difference


class BrokerChange(StrEnum):
    """Kind of a change at a broker, for its own counter.

    TOLD: a credential that was set. GRANTED and REMOVED: a rule. REVOKED: a credential. REFUSED:
    any of these changes that the broker did not carry out.
    """

    TOLD = "Told"
    GRANTED = "Granted"
    REMOVED = "Removed"
    REVOKED = "Revoked"
    REFUSED = "Refused"


@dataclass(slots=True)
class Instrumentation:
    """Callbacks for metrics, each called when its event occurs, and the tracer.

    `visited` gets the kind of a reconciled key, the outcome, and the duration in seconds.
    `waited` gets the kind of a key that a worker took from the queue, and the seconds it waited.
    `restored` gets the kind of a resource for which drift was restored.
    `broker_failed` gets a broker and the reason why it could not be observed or changed.
    `broker_changed` gets a broker, a kind of change, and the number of such changes.
    `cache_differed` gets the kind of an object that was wrong in the cache, and the difference.
    `store_restored` is called when the API server's store was found to be restored.
    `tracer` makes the spans of reconciles, None for none.
    """

    visited: Callable[[str, str, float], None] = field(default=lambda *_: None)
    waited: Callable[[str, float], None] = field(default=lambda *_: None)
    restored: Callable[[str], None] = field(default=lambda _: None)
    broker_failed: Callable[[Ref, str], None] = field(default=lambda *_: None)
    broker_changed: Callable[[Ref, BrokerChange, int], None] = field(default=lambda *_: None)
    cache_differed: Callable[[str, Difference], None] = field(default=lambda *_: None)
    store_restored: Callable[[], None] = field(default=lambda: None)
    tracer: Tracer | None = None


def count_changes(
    instrumentation: Instrumentation, step: ChangeBroker, failed: Container[Rule | Place]
) -> None:
    """Count the changes of a step; `failed` are the changes that the broker did not carry out."""
    asked: dict[BrokerChange, Sequence[Rule | Place]] = {
        BrokerChange.TOLD: [(each.principal, each.slot) for each in step.uploads],
        BrokerChange.GRANTED: step.additions,
        BrokerChange.REMOVED: step.removals,
        BrokerChange.REVOKED: step.revocations,
    }
    refused = 0
    for change, each in asked.items():
        done = sum(one not in failed for one in each)
        refused += len(each) - done
        instrumentation.broker_changed(step.broker, change, done)
    instrumentation.broker_changed(step.broker, BrokerChange.REFUSED, refused)
