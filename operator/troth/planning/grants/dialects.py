"""What grants are in the words of their broker, whichever it is, and which it cannot have."""

from functools import lru_cache

from troth.brokers.kafka import rules as kafka_rules
from troth.brokers.nats import rules as nats_rules
from troth.resources.messaging.message_broker import BrokerType, MessageBroker
from troth.trust.grants import Grant, Rule
from troth.world.facts.objects import Fault

TABLES = {BrokerType.KAFKA: kafka_rules.rules, BrokerType.NATS: nats_rules.rules}


def unsupported(broker: MessageBroker) -> Fault | None:
    """Return why Troth cannot grant anything at a broker, None where it can."""
    type_ = broker.spec.type
    if type_ not in TABLES:
        message = f"{type_} is not supported yet; use kafka or nats"
        return Fault("Unsupported", message)
    if broker.spec.nats is not None and broker.spec.by_certificate:
        message = (
            "NATS in operator mode identifies clients by JWTs only, and users of verify_and_map "
            "are in the server's own configuration; set clients: JWT"
        )
        return Fault("Unsupported", message)
    return None


@lru_cache(maxsize=1 << 16)
def rules_of(type_: BrokerType, grant: Grant) -> frozenset[Rule] | str:
    """Return a grant in its broker's words, or the sentence that says why it has no words for it.

    What a broker would take for more than was declared is never told to it.
    """
    if type_ not in TABLES:
        return f"{type_} is not supported yet"
    try:
        return TABLES[type_]([grant])
    except ValueError as error:
        return str(error)
