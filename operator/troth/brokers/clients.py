"""Clients that are connected to a broker, as far as the broker shows them. Pure.

A client chooses its own name, so the name is a claim. Names of unguarded clients may be any text:
they are kept escaped and shortened.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from troth.documents.client_name import read_client_name
from troth.trust.grants import Action

MOST_NAMES = 3
"""Maximum number of names that are kept of one kind of clients."""
MOST_KINDS = 64
"""Maximum number of kinds of clients that are kept for one principal or group."""
MOST_TOPICS = 100
"""Maximum number of topics of a client that are kept. A client with more may use any topic."""
MOST_SHOWN = 64
"""Maximum length of a name that is kept."""


@dataclass(frozen=True, slots=True)
class Client:
    """Client that is connected to a broker, or several that differ in nothing that counts.

    A broker shows either the `principal` or the consumer `group`; the other is empty. `policies`
    are those by which its guard validates, as namespace/name, and None for a client without the
    guard; `named_all` is whether they are all. `name` is the name of a client without the guard.
    `topics` are the topics that the broker has assigned to it, empty if the broker does not show
    them. `actions` are the actions that it is seen to take.
    """

    principal: str = ""
    group: str = ""
    policies: tuple[str, ...] | None = None
    named_all: bool = True
    name: str = ""
    topics: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients that a broker showed.

    `hidden` are the consumer groups that it did not show, with the reasons.
    """

    seen: frozenset[Client] = frozenset()
    hidden: Mapping[str, str] = field(default_factory=dict)


def client_of(
    name: str,
    *,
    principal: str = "",
    group: str = "",
    topics: Iterable[str] = (),
    actions: Iterable[Action] = (),
) -> Client:
    """Return a client with this name, which may be any text."""
    found = read_client_name(name)
    known = tuple(sorted(set(topics)))
    return Client(
        principal,
        group,
        policies=found.policies if found is not None else None,
        named_all=found is None or found.complete,
        name=shown(name) if found is None else "",
        topics=known if len(known) <= MOST_TOPICS else (),
        actions=tuple(sorted(set(actions))),
    )


def bounded(clients: Iterable[Client]) -> frozenset[Client]:
    """Return clients, with a few names of those that differ only in their names.

    No client can fill the memory with names. Of one principal or group with too many kinds of
    clients, those without the guard are kept first.
    """
    names: dict[Client, list[str]] = defaultdict(list)
    for each in clients:
        names[replace(each, name="")].append(each.name)
    kinds: dict[tuple[str, str], list[Client]] = defaultdict(list)
    for alike in names:
        kinds[alike.principal, alike.group].append(alike)
    return frozenset(
        replace(alike, name=name)
        for of_one in kinds.values()
        for alike in heapq.nsmallest(MOST_KINDS, of_one, key=_unguarded_first)
        for name in heapq.nsmallest(MOST_NAMES, set(names[alike]))
    )


def _unguarded_first(client: Client) -> tuple[object, ...]:
    return client.policies is not None, client.policies or (), client.topics, client.actions


def shown(name: str) -> str:
    """Return a name as a message shows it in quotation marks.

    It is in printable ASCII without quotation marks, at most 64 characters.
    """
    return printable(name, MOST_SHOWN).replace('"', "'")


def printable(text: str, most: int) -> str:
    """Return text in printable ASCII, at most `most` characters."""
    # Cut first, because a name may have megabytes.
    start = text[: most + 1]
    escaped = start if start.isprintable() and start.isascii() else ascii(start)[1:-1]
    return escaped if len(escaped) <= most else f"{escaped[: most - 3]}..."
