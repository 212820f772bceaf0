"""Clients in the server's list of an account's connections (docs.nats.io, "Monitoring"). Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from troth.brokers.clients import Client, bounded, client_of
from troth.trust.grants import Action


def clients_in(
    connections: Iterable[Mapping[str, Any]], principals: Mapping[str, str]
) -> frozenset[Client]:
    """Return the clients of principals.

    `connections` are the server's entries, and `principals` those of the account's signing keys. A
    connection that another key has signed is of no principal.
    """
    return bounded(_clients(connections, principals))


def _clients(
    connections: Iterable[Mapping[str, Any]], principals: Mapping[str, str]
) -> Iterator[Client]:
    for entry in connections:
        principal = principals.get(str(entry.get("issuer_key", "")))
        if principal is not None:
            name = str(entry.get("name", ""))
            yield client_of(name, principal=principal, actions=_actions(entry))


def _actions(entry: Mapping[str, Any]) -> Iterator[Action]:
    """Yield what a connection may have been used for.

    A client without a subscription receives no message, also none that it fetches from a stream.
    One that has sent no message has published nothing.
    """
    if entry.get("subscriptions"):
        yield Action.CONSUME
    if entry.get("in_msgs"):
        yield Action.PUBLISH
