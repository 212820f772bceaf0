"""Options of aiokafka, from the files that Troth writes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka.helpers import create_ssl_context

from troth.edge.events.adapters.kafka_files import client_properties
from troth.edge.identity.files import Identity

_OPTIONS = {
    "bootstrap.servers": "bootstrap_servers",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
}
_PROTOCOL = "security.protocol"
_ROOTS = "ssl.ca.location"


def client_options(directory: str | Path) -> dict[str, Any]:
    """Return the options in a mounted Secret `<identity>-<broker>`.

    The file contains the password, which changes in a rotation: give a consumer or a producer a
    function that calls this.
    """
    return options_of(client_properties(directory))


def options_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Return properties of librdkafka that Troth writes as options of aiokafka."""
    protocol = properties[_PROTOCOL].upper()
    options = {name: properties[key] for key, name in _OPTIONS.items() if key in properties}
    options["security_protocol"] = protocol
    if protocol.endswith("SSL"):
        options["ssl_context"] = create_ssl_context(cafile=properties.get(_ROOTS))
    return options


def certificate_options(
    identity: Identity, servers: Iterable[str], roots: str | Path | None = None
) -> dict[str, Any]:
    """Return the options of a client that presents the identity's certificate.

    This is for a broker with `clients: MTLS`. `servers` are `host:port`, and `roots` the file with
    the roots of the servers' certificates, by default the system's. Raises `IdentityError`.
    """
    snapshot = identity.current
    return {
        "bootstrap_servers": ",".join(servers),
        "security_protocol": "SSL",
        "ssl_context": create_ssl_context(
            cafile=roots, certfile=snapshot.tls_crt, keyfile=snapshot.tls_key
        ),
    }
