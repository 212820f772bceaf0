"""Description of a NATS cluster."""

from enum import StrEnum
from typing import ClassVar

from troth.resources.messaging.brokers.description import (
    CERTIFICATES_NEED_TLS,
    BrokerDescription,
    BrokerTLS,
    Servers,
)
from troth.resources.messaging.names import AccountKey, OperatorKey
from troth.resources.references import LocalReference
from troth.resources.schema.rules import Rule


class NATSClients(StrEnum):
    """Authentication of NATS clients."""

    JWT = "JWT"
    MTLS = "MTLS"


class NATS(BrokerDescription):
    """NATS cluster in operator mode. Troth administers one of its accounts."""

    rules: ClassVar[tuple[Rule, ...]] = (CERTIFICATES_NEED_TLS,)
    has_streams: ClassVar[bool] = True

    servers: Servers
    """Servers, as host:port."""
    account: AccountKey
    """Public key of the account that holds everything Troth manages."""
    operator: OperatorKey
    """Public key of the operator, its identity key. Troth changes and signs the account only if
    this operator has signed it."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Every connection uses TLS, even without them."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the account: system.creds of a user of
    the system account, and operator.nk, the seed of an operator signing key."""
    clients: NATSClients = NATSClients.JWT
    """Authentication of clients. JWT (default): a .creds file in a Secret of each identity. MTLS:
    the identity's certificate, if the servers are configured with verify_and_map."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Servers to which clients connect, as host:port."""
        return self.servers

    @property
    def by_certificate(self) -> bool:
        """Whether clients authenticate with their identity's certificate."""
        return self.clients is NATSClients.MTLS

    @property
    def principal_part(self) -> str:
        """The account, which holds the topics too."""
        return self.account
