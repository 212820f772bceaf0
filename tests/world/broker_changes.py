"""What may happen at a broker, for the tests of invalidation: outcomes of work, and ledgers."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from tests.builders import NOW, OWN, Cluster, Manifest
from tests.strategies import half, sometimes, subset
from troth.planning.grants.rules import policy_rules
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule, Slot
from troth.world.facts.broker import AdminMade, AdminShown, Ledger
from troth.world.facts.objects import Fault
from troth.world.keys import Keys
from troth.world.observation.ledger import ledger_manifest
from troth.world.outcomes.brokers import (
    AdminCredentialChanged,
    BrokerChanged,
    BrokerObserved,
    WorkBegun,
    WorkEnded,
    WorkFailed,
)
from troth.world.outcomes.outcome import Outcome

T = TypeVar("T")

ADMIN: Place = ("admin", Slot.FIRST)
PRINTS = ("", "first", "second")
FAULTS = (Fault("Unreachable", "nobody answers"), Fault("Denied", "the admin may not do this"))


def took(cluster: Cluster, broker: Ref, outcome: Outcome) -> Keys:
    """Take in the outcome of work at a broker, as the reconciler reports it."""
    outcomes = (WorkBegun(broker), outcome, WorkEnded(broker))
    return set().union(*map(cluster.world.observe_outcome, outcomes))


def some_outcome(data: st.DataObject, cluster: Cluster, broker: MessageBroker) -> Outcome:
    """Draw any outcome of work at a broker."""
    draw = data.draw
    ref, uptime = broker.ref, cluster.uptime
    seen = Observed(
        frozenset(_some(data, _places(cluster, broker))),
        frozenset(_some(data, _rules(cluster, broker))),
    )
    fault = draw(st.sampled_from((None, *FAULTS)))
    match draw(st.sampled_from(("observed", "observed", "changed", "changed", "failed", "turned"))):
        case "observed":
            roots = draw(st.sampled_from(("", "", "roots")))
            place = ADMIN if draw(half) else None
            shown = AdminShown(place, draw(st.sampled_from(PRINTS[1:])), NOW)
            return BrokerObserved(ref, seen, roots, shown, uptime)
        case "changed":
            asked: list[Rule | Place] = [*sorted(seen.rules), *sorted(seen.credentials)]
            failed = _some(data, asked) if draw(half) else []
            said = draw(st.sampled_from(("no", "too many")))
            return BrokerChanged(ref, seen, dict.fromkeys(failed, said), uptime)
        case "failed":
            return WorkFailed(ref, fault, uptime)
        case _:
            return AdminCredentialChanged(ref, fault, uptime)


def some_ledger(data: st.DataObject, cluster: Cluster, broker: MessageBroker) -> Manifest:
    """Draw any ledger of a broker, or an unreadable one."""
    draw = data.draw
    rules = frozenset(_some(data, _rules(cluster, broker)))
    prints = st.sampled_from((*PRINTS, *_prints(cluster)))
    ledger = Ledger(
        rules,
        frozenset(_some(data, sorted(rules))) if draw(half) else frozenset(),
        {place: draw(prints) for place in _some(data, _places(cluster, broker))},
        AdminMade(ADMIN, "first", NOW, replaces=draw(half)) if draw(sometimes) else None,
        frozenset(_some(data, _rules(cluster, broker))) - rules,
    )
    made = ledger_manifest(OWN, broker, ledger)
    return {**made, "binaryData": {}} if draw(sometimes) else made


def _some(data: st.DataObject, items: Sequence[T]) -> list[T]:
    return data.draw(subset(items)) if items else []


def _rules(cluster: Cluster, broker: MessageBroker) -> list[Rule]:
    """Return the rules of every policy at a broker, whether granted or not."""
    known = cluster.world.brokers
    policies = [*known.messaging.policies.values(), *known.leaving_policies.values()]
    return sorted(frozenset().union(*(policy_rules(broker, each) for each in policies)))


def _places(cluster: Cluster, broker: MessageBroker) -> list[Place]:
    """Return both slots of every principal that has a rule or a Secret."""
    named = {rule.principal for rule in _rules(cluster, broker)}
    named |= {secret.principal for secret in cluster.world.brokers.secrets.values()}
    return [(principal, slot) for principal in sorted(named) for slot in Slot]


def _prints(cluster: Cluster) -> Iterable[str]:
    """Return the fingerprint of every credential in a Secret."""
    for _, secret in sorted(cluster.world.brokers.secrets.items()):
        yield from (held.fingerprint for held in secret.held)
