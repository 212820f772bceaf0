"""Part of the status of `MessageBroker`: what the broker shows of its security.

A broker may have any text as a name. Names are kept escaped and shortened, and lists are bounded.
No credential is kept, and no content of one.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.messaging.names import NAME_LIMIT, PRINCIPAL_LIMIT
from troth.resources.messaging.topic_policy_status import Action
from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time

MOST_LISTENERS = 16
MOST_SUPER_USERS = 32
MOST_CLIENTS, MOST_ADDRESSES, MOST_NAMES = 64, 8, 3
MOST_RIGHTS, MOST_TOPICS = 64, 8
MOST_REASON = 512

Principal = Annotated[str, StringConstraints(max_length=PRINCIPAL_LIMIT)]
ShownName = Annotated[str, StringConstraints(max_length=64)]


class Encryption(StrEnum):
    """Whether a listener encrypts its connections."""

    REQUIRED = "Required"
    NONE = "None"
    UNKNOWN = "Unknown"


class Authentication(StrEnum):
    """Whether a listener requires a credential."""

    REQUIRED = "Required"
    NONE = "None"
    UNKNOWN = "Unknown"


class Aspect(StrEnum):
    """Aspect of a broker's security that it shows or hides."""

    LISTENERS = "Listeners"
    SUPER_USERS = "SuperUsers"
    CLIENTS = "Clients"
    PRINCIPALS = "Principals"
    RIGHTS = "Rights"


class ObservedListener(Observed):
    """Listener of the broker for clients or other servers."""

    name: Annotated[str, StringConstraints(max_length=128)]
    """Name of the listener, as the broker has it. For NATS: the protocol, such as websocket."""
    encryption: Encryption
    """Whether it encrypts connections. Required: TLS only. None: it accepts connections without
    TLS."""
    authentication: Authentication
    """Whether it requires a credential. None: it accepts clients without one."""


class ObservedClient(Observed):
    """Connected clients with one login, or in one consumer group."""

    principal: Principal | None = None
    """Principal of the login. A user that another signing key of a NATS account has signed is
    written as key/user. Absent if the broker does not show principals."""
    group: Annotated[str, StringConstraints(max_length=NAME_LIMIT)] | None = None
    """Consumer group, if the broker shows groups and no principals."""
    names: Annotated[
        tuple[ShownName, ...], Field(max_length=MOST_NAMES, json_schema_extra=ATOMIC)
    ] = ()
    """Names that the clients have chosen, at most the first 3."""
    addresses: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=45)], ...],
        Field(max_length=MOST_ADDRESSES, json_schema_extra=ATOMIC),
    ] = ()
    """IP addresses from which they are connected, at most the first 8."""
    more_addresses: bool | None = None
    """True if they are connected from more addresses."""


class ForeignRight(Observed):
    """What a foreign principal, which is not listed under administrators, may do on topics."""

    principal: Principal
    """Foreign principal, as Exclusive of a TopicPolicy names it. * is every principal."""
    actions: Annotated[tuple[Action, ...], Field(max_length=2, json_schema_extra=ATOMIC)]
    """Actions that it may take."""
    topics: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=NAME_LIMIT)], ...],
        Field(max_length=MOST_TOPICS, json_schema_extra=ATOMIC),
    ] = ()
    """Topics of policies, or their prefixes, that it reaches, at most the first 8."""
    more_topics: bool | None = None
    """True if it reaches topics of more policies."""
    wildcard: bool | None = None
    """True if a rule of it names every topic, or every principal."""


class HiddenAspect(Observed):
    """Aspect that the broker does not show, or not completely."""

    aspect: Aspect
    """Aspect that is hidden."""
    reason: Annotated[str, StringConstraints(max_length=MOST_REASON)]
    """Why it is hidden, and how to show it."""


class Exposure(Observed):
    """What a broker shows of its listeners, its super users and its clients."""

    listeners: Annotated[
        tuple[ObservedListener, ...], Field(max_length=MOST_LISTENERS, json_schema_extra=ATOMIC)
    ] = ()
    """Listeners of the broker."""
    super_users: Annotated[
        tuple[Principal, ...], Field(max_length=MOST_SUPER_USERS, json_schema_extra=ATOMIC)
    ] = ()
    """Principals besides Troth's that bypass the broker's rules, and are not listed under
    administrators. super.users stands for those of Kafka, whose names it does not disclose. Users
    of NATS's system account are listed while they are connected."""
    clients: Annotated[
        tuple[ObservedClient, ...], Field(max_length=MOST_CLIENTS, json_schema_extra=ATOMIC)
    ] = ()
    """Clients that are connected, by login or by consumer group."""
    hidden: Annotated[
        tuple[HiddenAspect, ...], Field(max_length=len(Aspect), json_schema_extra=ATOMIC)
    ] = ()
    """Aspects that the broker does not show, or not completely."""


class ObservedBroker(Exposure):
    """What the broker shows of its security, at the time when this last changed."""

    observed_at: Time
    """Time of the observation that found this. Troth writes it again when the content changes, at
    most once a minute. While Reachable is true, the content is that of the last observation."""
    rights: Annotated[
        tuple[ForeignRight, ...], Field(max_length=MOST_RIGHTS, json_schema_extra=ATOMIC)
    ] = ()
    """Rights of foreign principals on topics that policies name."""
