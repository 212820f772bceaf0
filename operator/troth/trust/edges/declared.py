"""Declared edges of an identity, each with its state."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.candidate import EdgeCandidate, deciding_obstacle
from troth.trust.edges.deliveries import delivered_by, delivered_to
from troth.trust.edges.evaluation import (
    Edge,
    Evaluate,
    callee_accepts,
    caller_calls,
    evaluate,
    peers_exist,
    peers_readable,
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
) -> list[Edge]:
    """Return the edges of a pair, which has no port, sorted by their first ports.

    Without the other side's consent, anybody can name a thousand ports of anybody.
    """
    groups = [] if by_port else [each for each in _one_sided(pair, ports) if len(each) > 1]
    alone = set() if groups == [ports] else set(ports.difference(*groups))
    edges = []
    for group in groups:
        edge = evaluation(replace(pair, port=min(group)))
        if edge.state in _BY_PORT:
            alone |= group - {edge.port}
        else:
            edge = replace(edge, together=group)
        edges.append(edge)
    edges += [evaluation(replace(pair, port=port)) for port in alone]
    return sorted(edges, key=lambda edge: edge.port)


_BY_PORT = frozenset({EdgeState.LIVE, EdgeState.SUSPENDED})
"""States of edges that open ports, or keep them open."""


def _one_sided(pair: EdgeCandidate, ports: frozenset[str]) -> list[frozenset[str]]:
    """Return the ports that only one side declares, those of one state together.

    Checks depend on a port only by whether the callee declares and accepts it, and whether the
    caller calls it, which endpoints may do for a gateway. Ports of an unreadable side are
    suspended, each by itself.
    """
    registry, caller, callee = pair.registry, pair.caller, pair.callee
    if any(map(registry.is_unreadable, (caller, callee))):
        return []
    accepted = registry.declared(callee).accepts.get(caller, frozenset())
    called = registry.declared(caller).calls.get(callee, frozenset())
    # mostly the same set, and a caller may name a thousand ports
    unaccepted = ports - accepted if accepted else ports
    parts = [unaccepted] if unaccepted is called else [unaccepted & called, unaccepted - called]
    first, second = pair.caller_identity, pair.callee_identity
    known = frozenset(() if second is None else (p.name for p in second.spec.workload.ports))
    groups = [
        each
        for part in parts
        for each in ((part,) if known.isdisjoint(part) else (part & known, part - known))
    ]
    delivers = first is not None and first.spec.serves_webhooks is not None
    return groups if delivers else [*groups, accepted & ports - called]


def consented_from(registry: Registry, ref: Ref, now: datetime) -> tuple[Edge, ...]:
    """Return every edge from an identity to which both sides consent, or may consent, sorted.

    Each is `Live` or `Suspended`, whatever else closes it. The caller's consent may be a route of a
    gateway, or unnecessary.
    """

    def judged(candidate: EdgeCandidate) -> Edge:
        try:
            checks = peers_exist, peers_readable, callee_accepts, caller_calls
            obstacle = deciding_obstacle(candidate, checks)
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
