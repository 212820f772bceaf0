"""Configuration of clients for Kafka, from the files that Troth writes, in librdkafka's names."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from troth.edge.identity.files import Identity

Configuration = Mapping[str, Any]
"""Options of a client library."""
Source = Configuration | Callable[[], Configuration]
"""A configuration, or a function that returns it, as it is at each new connection."""

LONGEST_LETTER_KEY: Final = 1024
"""Maximum size in bytes of the key that a dead letter takes from its message."""

_ROOTS = "ssl.ca.location"


def client_properties(directory: str | Path) -> dict[str, Any]:
    """Return the configuration in a mounted Secret `<identity>-<broker>`.

    The file contains the password, which changes in a rotation: give a consumer or a producer a
    function that calls this.
    """
    files = Path(directory)
    lines = (files / "client.properties").read_text().splitlines()
    properties: dict[str, Any] = dict(line.split("=", 1) for line in lines if line)
    if _ROOTS in properties:
        properties[_ROOTS] = str(files / "ca.crt")
    return properties


def certificate_properties(
    identity: Identity, servers: Iterable[str], roots: str | Path | None = None
) -> dict[str, Any]:
    """Return the configuration of a client that presents the identity's certificate.

    This is for a broker with `clients: MTLS`. `servers` are `host:port`, and `roots` the file with
    the roots of the servers' certificates, by default the system's. Raises `IdentityError`.
    """
    snapshot = identity.current
    properties: dict[str, Any] = {
        "bootstrap.servers": ",".join(servers),
        "security.protocol": "ssl",
        "ssl.certificate.location": str(snapshot.tls_crt),
        "ssl.key.location": str(snapshot.tls_key),
    }
    if roots is not None:
        properties[_ROOTS] = str(roots)
    return properties


def letter_key(key: bytes | None) -> bytes | None:
    """Return the key of a message for its dead letter, None if the key is long.

    No form of a dead letter omits the key, so a long one could make all forms too large.
    """
    return None if key is None or len(key) > LONGEST_LETTER_KEY else key


def combined(source: Source, own: Configuration, defaults: Configuration) -> dict[str, Any]:
    """Return a configuration with the adapter's own properties.

    Raises `ValueError` if the given one has another value for one of them.
    """
    given = source() if callable(source) else source
    for name, value in own.items():
        if name in given and str(given[name]).lower() != str(value).lower():
            raise ValueError(
                f"{name} is {value} for sealed events; remove it from the configuration"
            )
    return {**defaults, **given, **own}
