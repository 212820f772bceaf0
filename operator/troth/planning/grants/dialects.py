"""Grants as rules of their broker, and which grants a broker cannot express."""

from functools import lru_cache

from troth.brokers import registry
from troth.brokers.protocol import Dialect
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.trust.grants import Grant, Rule
from troth.world.facts.objects import Fault


def unsupported(broker: MessageBroker) -> Fault | None:
    """Return why Troth cannot grant anything at a broker, None if it can."""
    because = registry.obstacle(broker)
    return Fault("Unsupported", because) if because else None


def is_enforced(broker: MessageBroker) -> bool:
    """Return whether Troth enforces what is declared for a broker, including its network."""
    return broker.spec.mode is BrokerMode.ENFORCE and unsupported(broker) is None


def rules_of(type_: BrokerType, grant: Grant) -> frozenset[Rule] | str:
    """Return the broker's rules for a grant, or the sentence that says why there are none.

    A grant has no rules if the broker would allow more by them than is declared.
    """
    dialect = registry.DIALECTS.get(type_)
    return f"{type_} is not supported yet" if dialect is None else _rules(dialect, grant)


@lru_cache(maxsize=1 << 16)
def _rules(dialect: Dialect, grant: Grant) -> frozenset[Rule] | str:
    try:
        return dialect.rules(grant)
    except ValueError as error:
        return str(error)
