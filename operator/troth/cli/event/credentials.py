"""The credential at a broker, from the files that Troth writes or from an administrator's."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from troth.cli.inputs.single import fault, read_file
from troth.documents.secret_keys import ROOTS

_MOST = 1024 * 1024
_PROPERTIES = "client.properties"


def kafka_properties(path: Path) -> dict[str, str]:
    """Return librdkafka's properties from a file, or from `client.properties` in a folder.

    Files that they name are beside the file. Connections use TLS unless the file says otherwise.
    Raises `FaultyManifests`, which quotes no value.
    """
    file = path / _PROPERTIES if path.is_dir() else path
    properties = {"security.protocol": "SSL"}
    for number, line in enumerate(_text(file).splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals:
            raise fault(f"{file}:{number}", "not a property of the form NAME=VALUE")
        name = name.strip()
        value = value.strip()
        properties[name] = (
            str(file.parent / value) if name.endswith(".location") and value else value
        )
    if "bootstrap.servers" not in properties:
        raise fault(str(file), "has no bootstrap.servers")
    return properties


@dataclass(frozen=True, slots=True)
class NatsFiles:
    """Servers of NATS, and the credential of a user there."""

    servers: list[str]
    creds: str = field(repr=False)
    inbox_prefix: str
    tls: ssl.SSLContext = field(repr=False)


def nats_files(folder: Path) -> NatsFiles:
    """Return the content of a folder with `servers`, `user.creds` and maybe `ca.crt`.

    `inbox.prefix` is `_INBOX` if there is no such file. Raises `FaultyManifests`.
    """
    roots, inbox = folder / ROOTS, folder / "inbox.prefix"
    try:
        tls = ssl.create_default_context(cafile=str(roots) if roots.exists() else None)
    except (OSError, ssl.SSLError):
        raise fault(str(roots), "not PEM certificates") from None
    servers = [each for each in _text(folder / "servers").strip().split(",") if each]
    if not servers:
        raise fault(str(folder / "servers"), "names no server")
    return NatsFiles(
        servers,
        _text(folder / "user.creds"),
        _text(inbox).strip() if inbox.exists() else "_INBOX",
        tls,
    )


def _text(file: Path) -> str:
    try:
        return read_file(file, _MOST).decode()
    except UnicodeDecodeError:
        raise fault(str(file), "not UTF-8 text") from None
