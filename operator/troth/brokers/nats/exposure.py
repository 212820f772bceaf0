"""What NATS servers show of their listeners and connections (docs.nats.io, "Monitoring"). Pure.

`VARZ` has the settings of one server, and `CONNZ` its connections. Neither shows whether a server
lets in clients without a credential (`default_sentinel`): only an attempt shows it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from troth.brokers.exposure import Connection, unclear
from troth.brokers.nats.jwt import Kind, decode
from troth.resources.messaging.observed_broker import (
    MOST_LISTENERS,
    Authentication,
    Encryption,
    HiddenAspect,
    ObservedListener,
)

CLIENTS = "nats"
"""Name of the listener for clients with the NATS protocol."""
_OTHER_CLIENTS = ("websocket", "mqtt")
_CERTIFICATE_END = "tls_cert_not_after"
"""Member of a listener with a certificate. Servers before 2.12 do not have it."""


def listeners_of(
    servers: Iterable[Mapping[str, Any]], *, admits_anybody: bool | None
) -> tuple[ObservedListener, ...]:
    """Return the listeners of some servers, one for each protocol; of two, the weaker one.

    `admits_anybody` is whether the servers accept clients without a credential, None if that is
    unknown.
    """
    found: dict[str, ObservedListener] = {}
    tried = Authentication.NONE if admits_anybody else Authentication.REQUIRED
    required = Authentication.UNKNOWN if admits_anybody is None else tried
    for varz in servers:
        for each in _listeners(varz, required):
            known = found.get(each.name, each)
            found[each.name] = ObservedListener(
                name=each.name,
                encryption=_weaker(Encryption, known.encryption, each.encryption),
                authentication=_weaker(Authentication, known.authentication, each.authentication),
            )
    return tuple(found[name] for name in sorted(found)[:MOST_LISTENERS])


def unknown_listeners(listeners: Iterable[ObservedListener]) -> tuple[HiddenAspect, ...]:
    """Return that listeners for clients are hidden, if the servers do not show their settings.

    Servers never show how those for other servers authenticate.
    """
    return unclear(each for each in listeners if each.name in (CLIENTS, *_OTHER_CLIENTS))


def _listeners(varz: Mapping[str, Any], required: Authentication) -> Iterator[ObservedListener]:
    if varz.get("auth_required") is not True:
        required = Authentication.NONE
    yield ObservedListener(
        name=CLIENTS, encryption=_encryption(varz.get("tls_required")), authentication=required
    )
    dates = _CERTIFICATE_END in varz
    for name in _OTHER_CLIENTS:
        part = _part(varz, name)
        if not part.get("port"):
            continue
        encrypted = _CERTIFICATE_END in part if dates or _CERTIFICATE_END in part else None
        if name == "websocket" and part.get("no_tls"):
            encrypted = False
        yield ObservedListener(
            name=name,
            encryption=Encryption.UNKNOWN if encrypted is None else _encryption(encrypted),
            authentication=Authentication.NONE if part.get("no_auth_user") else required,
        )
    for name, port in (("leaf", "port"), ("cluster", "cluster_port"), ("gateway", "port")):
        part = _part(varz, name)
        if part.get(port):
            yield ObservedListener(
                name=name,
                encryption=_encryption(part.get("tls_required")),
                authentication=Authentication.UNKNOWN,
            )


def _encryption(required: object) -> Encryption:
    return Encryption.REQUIRED if required else Encryption.NONE


def _weaker(kind: type[Any], *found: object) -> Any:  # noqa: ANN401 - of either enumeration
    return next(each for each in (kind.NONE, kind.UNKNOWN, kind.REQUIRED) if each in found)


def _part(varz: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = varz.get(name)
    return found if isinstance(found, dict) else {}


def connections_in(
    entries: Iterable[Mapping[str, Any]], principals: Mapping[str, str]
) -> Iterator[Connection]:
    """Yield the connections of an account; `principals` are those of its signing keys.

    A user that another key has signed is written as key/user.
    """
    for entry in entries:
        key = str(entry.get("issuer_key", ""))
        known = principals.get(key)
        login = known if known is not None and known != key else f"{key}/{user_of(entry)}"
        yield Connection(login, "", str(entry.get("name") or ""), str(entry.get("ip", "")))


def user_of(entry: Mapping[str, Any]) -> str:
    """Return the public key of a connection's user, "" if the server does not show it."""
    if entry.get("authorized_user"):
        return str(entry["authorized_user"])
    try:
        return str(decode(str(entry.get("jwt", "")), Kind.ACCOUNT).get("sub", ""))
    except ValueError:
        return ""


def without_credential(entries: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether any client of an account is connected without a credential of its own."""
    return any("issuer_key" in entry and not entry.get("jwt") for entry in entries)
