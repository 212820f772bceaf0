"""Description of an MQTT broker."""

from troth.resources.messaging.brokers.description import BrokerDescription, BrokerTLS, Servers
from troth.resources.references import LocalReference


class MQTT(BrokerDescription):
    """Mosquitto broker with its dynamic security plugin."""

    servers: Servers
    """Servers, as host:port."""
    tls: BrokerTLS | None = None
    """TLS settings to verify the servers. Without them, connections are not encrypted."""
    admin_secret_ref: LocalReference
    """Secret in this namespace with which Troth administers the broker: username and password."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Servers to which clients connect, as host:port."""
        return self.servers
