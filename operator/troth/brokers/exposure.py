"""What a broker shows of its security, in bounded form. Pure.

Names of principals and clients may be any text. They are kept escaped and shortened.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from troth.brokers.clients import printable, shown
from troth.resources.messaging.names import PRINCIPAL_LIMIT
from troth.resources.messaging.observed_broker import (
    MOST_ADDRESSES,
    MOST_CLIENTS,
    MOST_NAMES,
    MOST_REASON,
    Aspect,
    Authentication,
    Encryption,
    Exposure,
    HiddenAspect,
    ObservedClient,
    ObservedListener,
)


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection of a client. A broker shows either the `principal` or the `group`."""

    principal: str = ""
    group: str = ""
    name: str = ""
    address: str = ""
    """IP address, or any other text, which is left out."""


@dataclass(frozen=True, slots=True)
class Connected:
    """Clients of a broker in bounded form, and what was left out of them."""

    clients: tuple[ObservedClient, ...] = ()
    hidden: tuple[HiddenAspect, ...] = ()


def connected(connections: Iterable[Connection]) -> Connected:
    """Return the clients of connections, those of one login or group together.

    Those that are connected from several addresses are kept first.
    """
    addresses: dict[tuple[str, str], set[str]] = defaultdict(set)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in connections:
        whose = shown_principal(each.principal), each.group
        addresses[whose] |= {address_of(each.address)} - {""}
        names[whose] |= {shown(each.name)} - {""}
    ranked = sorted(addresses, key=lambda whose: (len(addresses[whose]) <= 1, *whose))
    clients = tuple(
        ObservedClient(
            principal=whose[0] or None,
            group=whose[1] or None,
            names=tuple(sorted(names[whose])[:MOST_NAMES]),
            addresses=tuple(sorted(addresses[whose])[:MOST_ADDRESSES]),
            more_addresses=len(addresses[whose]) > MOST_ADDRESSES or None,
        )
        for whose in ranked[:MOST_CLIENTS]
    )
    left_out = []
    if len(ranked) > MOST_CLIENTS:
        left_out.append(f"the status has room for {MOST_CLIENTS} logins or groups, not for all")
    if any(each.more_addresses for each in clients):
        left_out.append(f"the status has room for {MOST_ADDRESSES} addresses of a login, not all")
    return Connected(clients, hidden(Aspect.CLIENTS, *left_out))


def hidden(aspect: Aspect, *reasons: str) -> tuple[HiddenAspect, ...]:
    """Return that an aspect is hidden for some reasons; nothing without reasons."""
    if not reasons:
        return ()
    return (HiddenAspect(aspect=aspect, reason="; ".join(reasons)[:MOST_REASON]),)


def unclear(listeners: Iterable[ObservedListener]) -> tuple[HiddenAspect, ...]:
    """Return that listeners are hidden as far as their encryption or authentication is unknown."""
    return hidden(
        Aspect.LISTENERS,
        *(
            f"the broker does not show whether listener {each.name} requires TLS and credentials"
            for each in listeners
            if each.encryption is Encryption.UNKNOWN
            or each.authentication is Authentication.UNKNOWN
        ),
    )


def merged(*several: HiddenAspect) -> tuple[HiddenAspect, ...]:
    """Return hidden aspects, each once with all of its reasons."""
    reasons: dict[Aspect, dict[str, None]] = defaultdict(dict)
    for each in several:
        reasons[each.aspect][each.reason] = None
    return tuple(found for aspect in sorted(reasons) for found in hidden(aspect, *reasons[aspect]))


def nothing_shown(reason: str) -> Exposure:
    """Return the exposure of a broker that shows nothing, for a reason."""
    return Exposure(hidden=tuple(each for aspect in Aspect for each in hidden(aspect, reason)))


def shown_principal(principal: str) -> str:
    """Return a principal in printable ASCII, at most as long as a status has room for."""
    return printable(principal, PRINCIPAL_LIMIT)


def address_of(text: str) -> str:
    """Return an IP address in its usual form, "" for other text."""
    try:
        found = ip_address(text)
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found).partition("%")[0]
