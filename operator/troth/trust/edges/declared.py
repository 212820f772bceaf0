"""Declared edges of an identity, each with its state."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.candidate import EdgeCandidate
from troth.trust.edges.deliveries import delivered_by, delivered_to
from troth.trust.edges.evaluation import (
    Edge,
    Evaluate,
    callee_accepts,
    caller_calls,
    evaluate,
    peers_exist,
)


def edges_of(
    registry: Registry,
    ref: Ref,
    now: datetime,
    evaluation: Evaluate = evaluate,
    *,
    by_port: bool = False,
) -> tuple[Edge, ...]:
    """Return every edge of an identity, inbound before outbound, sorted.

    An edge that only one side declares is included, so that both can report the missing side.
    `by_port` is whether each port has an edge of its own, including those that stand together.
    """
    mine = registry.declared(ref)
    inbound = dict(mine.accepts)
    for peer in registry.naming(ref):
        _add(inbound, peer, registry.declared(peer).calls.get(ref))
    for route in delivered_to(registry, ref):
        _add(inbound, route.gateway, frozenset((route.port,)))
    found = (
        edge
        for peer in sorted(inbound)
        for edge in _between(
            EdgeCandidate(registry, peer, ref, "", now), inbound[peer], evaluation, by_port=by_port
        )
    )
    outbound = edges_from(registry, ref, now, evaluation=evaluation, by_port=by_port)
    return (*found, *outbound)


def edges_from(
    registry: Registry,
    ref: Ref,
    now: datetime,
    among: Callable[[Ref], bool] = lambda _: True,
    evaluation: Evaluate = evaluate,
    *,
    by_port: bool = False,
) -> tuple[Edge, ...]:
    """Return every edge from an identity to one `among` others, sorted.

    An edge that only one side declares is included.
    """
    calls = registry.declared(ref).calls
    outbound = {peer: ports for peer, ports in calls.items() if among(peer)}
    for peer in filter(among, registry.naming(ref)):
        _add(outbound, peer, registry.declared(peer).accepts.get(ref))
    for route in delivered_by(registry, ref):
        if among(route.target):
            _add(outbound, route.target, frozenset((route.port,)))
    return tuple(
        edge
        for peer in sorted(outbound)
        for edge in _between(
            EdgeCandidate(registry, ref, peer, "", now), outbound[peer], evaluation, by_port=by_port
        )
    )


def _add(peers: dict[Ref, frozenset[str]], peer: Ref, ports: frozenset[str] | None) -> None:
    """Add the ports of a peer to its others."""
    if ports:
        known = peers.get(peer)
        peers[peer] = ports if known is None else known | ports


def _between(
    pair: EdgeCandidate, ports: frozenset[str], evaluation: Evaluate, *, by_port: bool
) -> Iterator[Edge]:
    """Yield the edges of a pair, which has no port, sorted by their first ports.

    Without the callee's consent, a caller can name a thousand ports of anybody.
    """
    together = [] if by_port else _unaccepted(pair, ports)
    alone = () if together == [ports] else ports.difference(*together)
    first = {min(each): each for each in together}
    for port in sorted((*alone, *first)):
        edge = evaluation(replace(pair, port=port))
        yield replace(edge, together=first[port]) if port in first else edge


def _unaccepted(pair: EdgeCandidate, ports: frozenset[str]) -> list[frozenset[str]]:
    """Return the ports on which the callee does not accept the caller, those of one state together.

    They differ by whether the callee declares them, and whether the caller itself calls them. Ports
    of an unreadable callee are suspended, each by itself.
    """
    registry, caller, callee = pair.registry, pair.caller, pair.callee
    if callee in registry.invalid_identities:
        return []
    accepted = registry.declared(callee).accepts.get(caller)
    unaccepted = ports if accepted is None else ports - accepted
    called = registry.declared(caller).calls.get(callee, frozenset())
    # mostly the same set, and a caller may name a thousand ports
    parts = [unaccepted] if unaccepted is called else [unaccepted & called, unaccepted - called]
    identity = pair.callee_identity
    known = frozenset(() if identity is None else (p.name for p in identity.spec.workload.ports))
    groups = (
        each
        for part in parts
        for each in ((part,) if known.isdisjoint(part) else (part & known, part - known))
    )
    return [each for each in groups if len(each) > 1]


def consented_from(registry: Registry, ref: Ref, now: datetime) -> tuple[Edge, ...]:
    """Return every edge from an identity to which both sides consent, or may consent, sorted.

    Each is `Live` or `Suspended`, whatever else closes it. The caller's consent may be a route of a
    gateway, or unnecessary.
    """

    def judged(candidate: EdgeCandidate) -> Edge:
        try:
            checks = peers_exist, callee_accepts, caller_calls
            obstacle = next(filter(None, (check(candidate) for check in checks)), None)
            state = obstacle.state if obstacle else EdgeState.LIVE
        except Exception:  # noqa: BLE001 - what cannot be judged may be open
            state = EdgeState.SUSPENDED
        return Edge(candidate.caller, candidate.callee, candidate.port, state)

    found = edges_from(registry, ref, now, evaluation=judged)
    return tuple(each for each in found if each.state in {EdgeState.LIVE, EdgeState.SUSPENDED})


def all_edges(registry: Registry, now: datetime) -> tuple[Edge, ...]:
    """Return every declared edge once, sorted, each port by itself."""
    edges = {
        (edge.caller, edge.callee, edge.port): edge
        for ref in registry.identities
        for edge in edges_of(registry, ref, now, by_port=True)
    }
    return tuple(edges[key] for key in sorted(edges))
