"""Registry of the broker types that Troth administers. A new type is one line here.

This module imports only dialects. A driver and its client library are imported when a broker of
that type is administered.
"""

from troth.brokers.errors import UnsupportedError
from troth.brokers.kafka.dialect import KafkaDialect
from troth.brokers.nats.dialect import NatsDialect
from troth.brokers.protocol import Dialect
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker

DIALECTS: dict[BrokerType, Dialect] = {
    BrokerType.KAFKA: KafkaDialect(),
    BrokerType.NATS: NatsDialect(),
}


def dialect_of(type_: BrokerType) -> Dialect:
    """Return the dialect of a broker type; raises `UnsupportedError` if there is none."""
    if type_ not in DIALECTS:
        raise UnsupportedError(f"Troth does not support {type_} yet")
    return DIALECTS[type_]


def obstacle(broker: MessageBroker) -> str:
    """Return why Troth cannot administer a broker, "" if it can."""
    dialect = DIALECTS.get(broker.spec.type)
    if dialect is None:
        served = " or ".join(sorted(DIALECTS))
        return f"{broker.spec.type} is not supported yet; use {served}"
    return dialect.obstacle(broker)


def public_keys() -> frozenset[str]:
    """Return the public keys in the data of credential Secrets, for all broker types."""
    return frozenset().union(*(dialect.public_keys for dialect in DIALECTS.values()))
