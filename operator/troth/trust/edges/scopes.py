"""Scopes of a token: those that the callee grants and the caller requests.

The issuer configuration, `identity.json` and `troth token explain` all use this rule. The entries
that name a scope are kept with the result, so that `explain` can show their lines.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref, Reference


class Entry(NamedTuple):
    """Entry of `accepts` or `calls` that names a peer."""

    speaker: Ref
    """Identity whose resource has the entry."""
    field: str
    """`accepts`, which grants, or `calls`, which requests."""
    place: int
    """Index in the list."""
    ports: frozenset[str]
    """Ports of the callee that the entry covers."""
    scopes: tuple[str, ...]

    def steps(self, scope: str | None = None) -> tuple[str | int, ...]:
        """Return the path in the resource to the entry, or to a scope that it names."""
        entry = "spec", self.field, self.place
        return entry if scope is None else (*entry, "scopes", self.scopes.index(scope))


@dataclass(frozen=True, slots=True)
class Scopes:
    """Scopes that a callee grants and a caller requests, and the ports with a live edge."""

    given: tuple[Entry, ...]
    asked: tuple[Entry, ...]
    live: frozenset[str]

    @property
    def held(self) -> tuple[str, ...]:
        """Scopes of a token, sorted: granted and requested, each by an entry for a live port.

        A token is for an audience, not for a port. The callee narrows it to the scopes that it
        grants on the called port.
        """
        return tuple(sorted(self._counting(self.given) & self._counting(self.asked)))

    def counts(self, entry: Entry) -> bool:
        """Return whether an entry covers a port on which the edge is live."""
        return not self.live.isdisjoint(entry.ports)

    def _counting(self, entries: Iterable[Entry]) -> set[str]:
        return {scope for entry in entries if self.counts(entry) for scope in entry.scopes}


def scopes_between(
    caller: ServiceIdentity, callee: ServiceIdentity, live: Collection[str]
) -> Scopes:
    """Return the scopes of both sides; `live` are the callee's ports with a live edge."""
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


def audience_of(callee: ServiceIdentity, callee_id: str) -> str:
    """Return the audience of tokens for a callee; `callee_id` is the callee's SPIFFE ID."""
    token = callee.spec.authentication.token
    return (token.audience if token else None) or callee_id
