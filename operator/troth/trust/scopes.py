"""The scopes of a token: those that the callee gives and the caller asks for, and nothing else.

One rule, read by the issuer's view, by `identity.json` and by `troth token explain`; so the entries
that name a scope are kept beside the answer, and a person can be shown their lines.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref, Reference


class Entry(NamedTuple):
    """One entry of `accepts` or `calls` that names a peer."""

    speaker: Ref
    """Whose resource it stands in."""
    field: str
    """`accepts`, which gives, or `calls`, which asks."""
    place: int
    """Where in that list."""
    ports: frozenset[str]
    """The callee's ports that it speaks of."""
    scopes: tuple[str, ...]

    def steps(self, scope: str | None = None) -> tuple[str | int, ...]:
        """Return the way in the resource to the entry, or to a scope that it names."""
        entry = "spec", self.field, self.place
        return entry if scope is None else (*entry, "scopes", self.scopes.index(scope))


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a callee gives a caller, what that asks for, and on which ports their edge is live."""

    given: tuple[Entry, ...]
    asked: tuple[Entry, ...]
    live: frozenset[str]

    @property
    def held(self) -> tuple[str, ...]:
        """The scopes of a token, sorted: given and asked for, each in an entry that counts.

        A token is for one audience and not for one port: the callee narrows it further to what it
        gives on the port that was called.
        """
        return tuple(sorted(self._counting(self.given) & self._counting(self.asked)))

    def counts(self, entry: Entry) -> bool:
        """Say whether an entry speaks of a port on which the edge is live."""
        return not self.live.isdisjoint(entry.ports)

    def _counting(self, entries: Iterable[Entry]) -> set[str]:
        return {scope for entry in entries if self.counts(entry) for scope in entry.scopes}


def scopes_between(
    caller: ServiceIdentity, callee: ServiceIdentity, live: Collection[str]
) -> Scopes:
    """Return what both sides say of scopes; `live` names the callee's ports with a live edge."""
    given = ((each.from_, each.ports, each.scopes) for each in callee.spec.accepts)
    asked = ((each.to, each.ports, each.scopes) for each in caller.spec.calls)
    return Scopes(
        tuple(_naming(caller.ref, callee.ref, "accepts", given)),
        tuple(_naming(callee.ref, caller.ref, "calls", asked)),
        frozenset(live),
    )


def _naming(
    peer: Ref,
    speaker: Ref,
    field: str,
    entries: Iterable[tuple[Reference | None, tuple[str, ...], tuple[str, ...]]],
) -> Iterator[Entry]:
    for place, (reference, ports, scopes) in enumerate(entries):
        if reference is None or reference.name != peer.name:
            continue
        if reference.seen_from(speaker.namespace) == peer:
            yield Entry(speaker, field, place, frozenset(ports), scopes)
