"""Description of a Kafka cluster."""

from enum import StrEnum
from typing import ClassVar

from troth.resources.messaging.brokers.description import (
    CERTIFICATES_NEED_TLS,
    BrokerDescription,
    BrokerTLS,
    Groups,
    Servers,
)
from troth.resources.references import LocalReference
from troth.resources.schema.rules import Rule


class KafkaClients(StrEnum):
    """Authentication of Kafka clients."""

    SCRAM = "SCRAM"
    MTLS = "MTLS"


class Kafka(BrokerDescription):
    """Kafka cluster, or another broker with the Kafka protocol."""

    rules: ClassVar[tuple[Rule, ...]] = (CERTIFICATES_NEED_TLS,)
    groups: ClassVar[Groups] = Groups.REQUIRED
    groups_span_topics: ClassVar[bool] = True

    bootstrap_servers: Servers
    """Bootstrap servers, as host:port."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Every connection uses TLS, even without them."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the cluster. It holds tls.crt and
    tls.key, or username, password and mechanism (default SCRAM-SHA-512). It also holds
    bootstrap.servers if Troth uses another listener than clients."""
    clients: KafkaClients = KafkaClients.SCRAM
    """Authentication of clients. SCRAM (default): a password in a Secret of each identity. MTLS:
    the identity's certificate, which the cluster maps to the principal."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Servers to which clients connect, as host:port."""
        return self.bootstrap_servers

    @property
    def by_certificate(self) -> bool:
        """Whether clients authenticate with their identity's certificate."""
        return self.clients is KafkaClients.MTLS
