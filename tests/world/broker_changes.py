"""What may happen at a broker, for the tests of invalidation: outcomes of work, and ledgers."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from tests.builders import NOW, OWN, Cluster, Manifest
from tests.strategies import half, sometimes, subset
from troth.brokers.clients import Clients, bounded, client_of
from troth.brokers.exposure import Connection, connected
from troth.documents.client_name import client_name
from troth.planning.grants.rules import policy_rules
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import Exposure
from troth.resources.references import Ref
from troth.trust.grants import Action, Observed, Place, Rule, Slot
from troth.trust.topics.candidate import principal_of
from troth.world.facts.broker import AdminInUse, Exposed, IssuedAdmin, Ledger
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
OUTCOMES = (
    *("observed", "observed", "clients", "clients", "changed", "changed"),
    *("failed", "turned"),
)
FAULTS = (
    Fault("Unreachable", "nobody answers"),
    Fault("AdminRefused", "the admin may not do this"),
)


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
    match draw(st.sampled_from(OUTCOMES)):
        case "observed":
            roots = draw(st.sampled_from(("", "", "roots")))
            place = ADMIN if draw(half) else None
            shown = AdminInUse(place, draw(st.sampled_from(PRINTS[1:])), NOW)
            clients = some_clients(data, cluster, broker)
            exposed = some_exposed(data, cluster)
            return BrokerObserved(ref, seen, roots, shown, uptime, clients, exposed)
        case "clients":  # that alone differ
            before = cluster.world.brokers.observation(ref)
            shown = before.admin or AdminInUse(None, "", NOW)
            kept = before.observed or seen
            clients = some_clients(data, cluster, broker)
            exposed = some_exposed(data, cluster)
            return BrokerObserved(ref, kept, before.authorities, shown, uptime, clients, exposed)
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
        IssuedAdmin(ADMIN, "first", NOW, replaces=draw(half)) if draw(sometimes) else None,
        frozenset(_some(data, _rules(cluster, broker))) - rules,
    )
    made = ledger_manifest(OWN, broker, ledger)
    return {**made, "binaryData": {}} if draw(sometimes) else made


def some_clients(
    data: st.DataObject, cluster: Cluster, broker: MessageBroker
) -> Clients | Fault | None:
    """Draw the clients that a broker shows, of any principals and groups of its policies."""
    if data.draw(sometimes):
        return data.draw(st.sampled_from((None, *FAULTS)))
    declared = cluster.world.brokers.messaging
    entries = [each for ref in sorted(declared.at(broker.ref)) for each in declared.entries(ref)]
    groups = sorted({each.group for each in entries if each.group})
    names = ("bare", *(client_name([str(ref)]) for ref in sorted(declared.policies)))
    owners = [
        *({"principal": principal_of(broker, each.identity)} for each in sorted(entries)),
        *({"group": group} for group in groups),
    ]
    some = [
        client_of(data.draw(st.sampled_from(names)), actions=Action, **owner)
        for owner in _some(data, owners)
    ]
    hidden = dict.fromkeys(_some(data, groups), "no") if data.draw(half) else {}
    return Clients(bounded(some), hidden)


def some_exposed(data: st.DataObject, cluster: Cluster) -> Exposed:
    """Draw what a broker shows of its security."""
    found = connected(
        Connection(principal, address=address)
        for principal in _some(data, ("troth-shop.a", "legacy"))
        for address in _some(data, ("10.0.0.1", "10.0.0.2"))
    )
    super_users = ("super.users",) if data.draw(half) else ()
    exposure = Exposure(clients=found.clients, hidden=found.hidden, super_users=super_users)
    return Exposed(exposure, cluster.now)


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
