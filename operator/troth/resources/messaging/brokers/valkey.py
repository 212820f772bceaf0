"""Description of a Valkey or Redis."""

from typing import ClassVar

from troth.resources.messaging.brokers.description import (
    BrokerDescription,
    BrokerTLS,
    Groups,
    Servers,
)
from troth.resources.references import LocalReference


class Valkey(BrokerDescription):
    """Valkey or Redis whose streams carry the messages."""

    groups: ClassVar[Groups] = Groups.REQUIRED

    servers: Servers
    """All servers, as host:port. Each is configured separately."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Without them, connections are not encrypted."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the servers: username and password."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Servers to which clients connect, as host:port."""
        return self.servers
