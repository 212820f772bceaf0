"""Description of a RabbitMQ cluster."""

from typing import ClassVar

from troth.resources.messaging.brokers.description import (
    BrokerDescription,
    BrokerTLS,
    Groups,
    Servers,
)
from troth.resources.messaging.names import ServerAddress, VirtualHost
from troth.resources.references import LocalReference


class RabbitMQ(BrokerDescription):
    """RabbitMQ cluster."""

    groups: ClassVar[Groups] = Groups.UNKNOWN

    servers: Servers
    """Servers to which clients connect, as host:port."""
    management: ServerAddress
    """Address of the management API, as host:port."""
    virtual_host: VirtualHost = "/"
    """Virtual host that holds everything Troth manages. Default /."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Without them, connections are not encrypted."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the cluster: username and password."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Servers to which clients connect, as host:port."""
        return self.servers

    @property
    def topic_part(self) -> str:
        """The virtual host. All virtual hosts share the principals."""
        return self.virtual_host
