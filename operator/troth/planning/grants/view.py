"""What the plans of policies and brokers ask the world about grants."""

from collections.abc import Iterator
from functools import partial

from troth.planning.grants.dialects import unsupported
from troth.planning.grants.exclusive import reaching_rules
from troth.planning.grants.finalizer import is_held
from troth.planning.grants.rules import (
    BrokerGrants,
    Share,
    broker_grants,
    grants_that_outlive,
    share_of,
)
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.trust.grants import Rule
from troth.world.facts.broker import Ledger
from troth.world.reader import Reader


def grants_at(broker: MessageBroker, ledger: Ledger, reader: Reader) -> BrokerGrants:
    """Return all grants at a broker; `ledger` is what Troth created there."""
    return broker_grants(
        broker,
        ledger,
        _shares(broker, reader),
        reader.leaving_at(broker.ref),
        registry=reader.registry,
        messaging=reader.messaging,
    )


def _shares(broker: MessageBroker, reader: Reader) -> Iterator[Share]:
    """Yield the grants of each policy at a broker, computed again only if an input changed.

    A policy gets its finalizer before Troth makes its grants, so it cannot be gone before they are.
    If the broker's mode is not Enforce, no policy gets a finalizer, and grants count without one.
    """
    enforced = broker.spec.mode is BrokerMode.ENFORCE
    served = unsupported(broker) is None
    for ref in reader.messaging.at(broker.ref):
        grants = reader.grants_of(ref)
        counts = not enforced or is_held(reader.messaging.policies[ref])
        yield reader.memo.of(
            "share",
            ref,
            (grants, broker.spec.type, served, counts),
            partial(share_of, broker, grants, counts=counts),
        )


def outliving_at(broker: MessageBroker, ledger: Ledger, reader: Reader) -> BrokerGrants:
    """Return what stays at a broker after its MessageBroker, by `onDelete: Retain`."""
    messaging = reader.messaging
    policies = [messaging.policies[ref] for ref in messaging.at(broker.ref)]
    leaving = reader.leaving_at(broker.ref)
    return grants_that_outlive(broker, ledger, (*policies, *leaving), reader.registry)


def foreign_rules(
    broker: MessageBroker, foreign: frozenset[Rule], reader: Reader
) -> tuple[Rule, ...]:
    """Return the foreign rules that concern any owned topic, computed once per observation.

    Those of administrators are left out.
    """
    return reader.memo.of(
        "reaching", broker.ref, (foreign, broker), partial(reaching_rules, broker, foreign)
    )
