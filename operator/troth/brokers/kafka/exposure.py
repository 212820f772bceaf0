"""What a Kafka cluster shows of its listeners, its super users and its clients.

Kafka discloses which properties are set, and the values of those that it defines itself. The
authorizer's own, `super.users` and `allow.everyone.if.no.acl.found`, are disclosed without their
values. No call of the admin API shows the principal of a connection.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError
from confluent_kafka.admin import ConsumerGroupDescription

from troth.brokers.exposure import Connection, connected, hidden, merged, unclear
from troth.brokers.kafka.groups import NO_MEMBERS
from troth.brokers.kafka.rules import SUPER_USERS
from troth.resources.messaging.observed_broker import (
    MOST_CLIENTS,
    MOST_LISTENERS,
    Aspect,
    Authentication,
    Encryption,
    Exposure,
    HiddenAspect,
    ObservedListener,
)

Configuration = Mapping[str, str | None]
"""Properties of a server that are set or have a default; None for values that Kafka hides."""

OPEN_TOPICS = "allow.everyone.if.no.acl.found"
_KEPT = frozenset(
    {
        *("listeners", "listener.security.protocol.map", "controller.listener.names"),
        *("ssl.client.auth", OPEN_TOPICS, SUPER_USERS.principal),
    }
)
_CLIENT_AUTH = "ssl.client.auth"
_NO_PRINCIPALS = "Kafka's admin API shows the members of consumer groups, and no principals"


def configuration_of(entries: Mapping[str, Any]) -> Configuration:
    """Return what counts of a server's configuration, which may have hundreds of properties."""
    return {
        name: entry.value
        for name, entry in entries.items()
        if name in _KEPT or (name.startswith("listener.name.") and name.endswith(_CLIENT_AUTH))
    }


def exposure_of(
    servers: list[Configuration | None] | None,
    groups: Mapping[str, ConsumerGroupDescription | KafkaError],
    *,
    has_more: bool,
) -> Exposure:
    """Return the exposure of a cluster.

    `servers` are None if the operator may not describe configurations, and so is each that did not
    answer. `has_more` is whether there are more groups than were described.
    """
    shown = [each for each in servers or () if each is not None]
    seen = connected(_connections(groups))
    listeners = _listeners(shown)
    return Exposure(
        listeners=listeners,
        super_users=(SUPER_USERS.principal,)
        if any(SUPER_USERS.principal in each for each in shown)
        else (),
        clients=seen.clients,
        hidden=merged(
            *seen.hidden,
            *_hidden(servers, shown),
            *unclear(listeners),
            *hidden(Aspect.PRINCIPALS, _NO_PRINCIPALS),
            *_hidden_groups(groups, has_more=has_more),
        ),
    )


def _hidden(
    servers: list[Configuration | None] | None, shown: list[Configuration]
) -> Iterator[HiddenAspect]:
    if servers is None or len(shown) < len(servers):
        reason = (
            "Kafka does not allow the operator to describe the configuration of its servers; allow "
            "it DescribeConfigs on the cluster"
            if servers is None
            else "a server of the cluster did not show its configuration"
        )
        for aspect in (Aspect.LISTENERS, Aspect.SUPER_USERS, Aspect.RIGHTS):
            yield from hidden(aspect, reason)
    if not all(_names(each.get("listeners")) for each in shown):
        yield from hidden(Aspect.LISTENERS, "a server of the cluster does not show its listeners")
    if any(OPEN_TOPICS in each for each in shown):
        yield from hidden(
            Aspect.RIGHTS,
            f"a server sets {OPEN_TOPICS}, and Kafka does not disclose its value; leave it out, so "
            "that topics without ACLs are closed",
        )


def _listeners(servers: Iterable[Configuration]) -> tuple[ObservedListener, ...]:
    """Return the listeners of all servers except those of controllers, each once."""
    found = {
        (name, encryption, authentication)
        for each in servers
        for name, encryption, authentication in _of_server(each)
    }
    return tuple(
        ObservedListener(name=name[:128], encryption=encryption, authentication=authentication)
        for name, encryption, authentication in sorted(found)[:MOST_LISTENERS]
    )


def _of_server(server: Configuration) -> Iterator[tuple[str, Encryption, Authentication]]:
    # Kafka reads names and protocols in any case
    mapped = (each.partition(":") for each in _names(server.get("listener.security.protocol.map")))
    protocols = {name.strip().upper(): protocol.strip().upper() for name, _, protocol in mapped}
    controllers = {each.upper() for each in _names(server.get("controller.listener.names"))}
    for listener in _names(server.get("listeners")):
        name = listener.partition(":")[0].strip().upper()
        if name in controllers:
            continue
        protocol = protocols.get(name, name)
        own = server.get(f"listener.name.{name.lower()}.{_CLIENT_AUTH}")
        certificate = (own or server.get(_CLIENT_AUTH) or "none").lower() == "required"
        match protocol:
            case "PLAINTEXT":
                yield name, Encryption.NONE, Authentication.NONE
            case "SASL_PLAINTEXT":
                yield name, Encryption.NONE, Authentication.REQUIRED
            case "SASL_SSL":
                yield name, Encryption.REQUIRED, Authentication.REQUIRED
            case "SSL":
                authentication = Authentication.REQUIRED if certificate else Authentication.NONE
                yield name, Encryption.REQUIRED, authentication
            case _:
                yield name, Encryption.UNKNOWN, Authentication.UNKNOWN


def _names(listed: str | None) -> list[str]:
    return [each.strip() for each in (listed or "").split(",") if each.strip()]


def _connections(
    groups: Mapping[str, ConsumerGroupDescription | KafkaError],
) -> Iterator[Connection]:
    for group, answer in groups.items():
        if isinstance(answer, KafkaError):
            continue
        for member in answer.members:
            # Kafka writes a host as name/address, and the name is usually empty
            address = (member.host or "").rpartition("/")[2]
            yield Connection("", group, member.client_id or "", address)


def _hidden_groups(
    groups: Mapping[str, ConsumerGroupDescription | KafkaError], *, has_more: bool
) -> Iterator[HiddenAspect]:
    if has_more:
        yield from hidden(Aspect.CLIENTS, f"Troth looks at {MOST_CLIENTS} groups, and not at all")
    if any(
        isinstance(each, KafkaError) and each.code() not in NO_MEMBERS for each in groups.values()
    ):
        yield from hidden(
            Aspect.CLIENTS,
            "Kafka does not describe every group of the policies; allow the operator Describe on "
            "the groups",
        )
