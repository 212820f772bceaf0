"""Names of the broker types."""

from enum import StrEnum


class BrokerType(StrEnum):
    """Broker types, named after the field of the spec that describes one."""

    KAFKA = "kafka"
    RABBITMQ = "rabbitmq"
    NATS = "nats"
    MQTT = "mqtt"
    VALKEY = "valkey"
