"""Grants in the words of their broker, whichever it is, and which grants it cannot have."""

from functools import lru_cache

from troth.brokers import registry
from troth.brokers.protocol import Dialect
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Grant, Rule
from troth.world.facts.objects import Fault


def unsupported(broker: MessageBroker) -> Fault | None:
    """Return why Troth cannot grant anything at a broker, None where it can."""
    because = registry.obstacle(broker)
    return Fault("Unsupported", because) if because else None


def rules_of(type_: BrokerType, grant: Grant) -> frozenset[Rule] | str:
    """Return a grant in its broker's words, or the sentence that says why it has no words for it.

    What a broker would take for more than was declared is never told to it.
    """
    dialect = registry.DIALECTS.get(type_)
    return f"{type_} is not supported yet" if dialect is None else _rules(dialect, grant)


@lru_cache(maxsize=1 << 16)
def _rules(dialect: Dialect, grant: Grant) -> frozenset[Rule] | str:
    try:
        return dialect.rules(grant)
    except ValueError as error:
        return str(error)
