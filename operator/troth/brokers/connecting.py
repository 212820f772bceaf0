"""Creation of a broker's driver from its `MessageBroker` and its admin Secret."""

import importlib
import ssl
from collections.abc import Mapping

from troth.brokers.admin_secret import AdminSecret
from troth.brokers.errors import BrokerError, UnsupportedError, needs_extra
from troth.brokers.protocol import Connect, Driver, Permit
from troth.brokers.registry import dialect_of
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Place


def connect(
    broker: MessageBroker, admin: Mapping[str, bytes], authorities: str, permit: Permit
) -> Driver:
    """Return the driver of a broker, which connects at its first request.

    `admin` is the data of its admin Secret, in the format that the broker's model describes.
    `authorities` are the PEM roots of the servers' certificates, empty for the system's. Every
    connection uses TLS. The driver calls `permit` before each call that changes the broker. Raises
    `BrokerError`, with a message that says what to do.
    """
    dialect = dialect_of(broker.spec.type)
    roots = _checked_roots(broker, authorities)
    because = dialect.obstacle(broker)
    if because:
        raise UnsupportedError(because)
    with needs_extra(dialect.name, dialect.extra):
        open_driver: Connect = importlib.import_module(dialect.driver).connect
    return open_driver(broker, AdminSecret(broker, admin), roots, permit)


def admin_place(broker: MessageBroker, admin: Mapping[str, bytes]) -> tuple[Place | None, str]:
    """Return where the credential in an admin Secret is kept at the broker, and its fingerprint.

    The place is None for a credential that Troth does not rotate. Raises `BrokerError`.
    """
    rotation = dialect_of(broker.spec.type).admin(broker)
    return (None, "") if isinstance(rotation, str) else rotation.place(AdminSecret(broker, admin))


def _checked_roots(broker: MessageBroker, authorities: str) -> str:
    """Return the roots without non-ASCII text; raises `BrokerError` if they are invalid."""
    roots = authorities.encode("ascii", "ignore").decode()  # only comments in PEM can be non-ASCII
    try:
        ssl.create_default_context(cadata=roots or None)
    except ssl.SSLError:
        raise BrokerError(
            f"the ca.crt for the servers of MessageBroker {broker.ref} holds no certificate that "
            "can be read; put their roots there, in PEM"
        ) from None
    return roots
