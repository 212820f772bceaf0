"""The edges in an identity's status."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, NamedTuple

from troth.planning.faults import ErrorBoundary
from troth.planning.identity.facts import View
from troth.planning.parts import Part, fails_closed
from troth.planning.verdicts import false, true
from troth.resources.conditions import Verdict
from troth.resources.identity.peers import Unverified
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import Direction, EdgeState, EdgeStatus
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.declarations.peers import accepted, called
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import consented_from
from troth.trust.edges.evaluation import (
    CALLEE_NOT_NARROWED,
    CALLER_NOT_NARROWED,
    Edge,
    not_narrowed,
)
from troth.trust.topics.evaluation import TopicGrant

EDGE_LIMIT = 1024
"""Maximum entries in a status."""
AWAITED_LIMIT = 64
"""Maximum entries of edges that only peers declare. Other namespaces can declare any number."""
PORT_LIMIT = 64
"""Maximum ports of an entry."""
MESSAGE_LIMIT = 1024
"""Maximum characters of an entry's message."""
FOREIGN_BYTES = 256 * 1024
"""Maximum size of all entries of edges that only peers declare."""
UNLISTED_LIMIT = 4096
"""Maximum number of edges without an entry that is counted. Beyond it, a new one of a peer changes
nothing in the status."""
_AWAITED = frozenset(
    {
        (Direction.INBOUND, EdgeState.AWAITING_CALLEE),
        (Direction.OUTBOUND, EdgeState.AWAITING_CALLER),
    }
)
"""Edges that wait for this side. The other side has declared them, so its status lists them."""
_NOT_NARROWED = frozenset({CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED})


class ListedEdges(NamedTuple):
    """The edges in a status: entries, and the number of edges that have none."""

    entries: tuple[EdgeStatus, ...]
    unlisted: int


def _current(_: Exception, view: View, foreign: ErrorBoundary) -> Part:
    del foreign
    found = closed_edges(view.identity, view.unapplied, view.registry, view.moment.now)
    return Part(status=_as_fields(found))


@fails_closed(_current)
def plan_edges(view: View, foreign: ErrorBoundary) -> Part:
    """Return the edges of the status, and whether all that the identity itself declares are live.

    Errors of edges that only peers declare are collected in `foreign`. If the edges cannot be
    planned, the status has the current ones, closed as far as the unapplied narrowing closes them.
    """
    identity = view.identity
    return Part(
        beside=(peers_agree(identity, view.edges, view.topics),),
        dues=view.trust_turns,
        status=_as_fields(edge_statuses(identity, view.edges, view.moment.now, foreign)),
    )


def _as_fields(edges: ListedEdges) -> Mapping[str, Any]:
    return {"edges": edges.entries, "unlisted_edges": edges.unlisted or None}


def edge_statuses(
    identity: ServiceIdentity, edges: tuple[Edge, ...], now: datetime, foreign: ErrorBoundary
) -> ListedEdges:
    """Return the status entries: the identity's own declarations first, then those of others.

    Entries of others are built in `foreign`, apart from its own. Troth reads edges again that may
    be open, or that a narrowing closes. Up to the limits, each of these has an entry, and of those
    that others declare, edges that a narrowing closes come first.
    """
    declares = _declares(identity)
    mine = [edge for edge in edges if declares(edge)]
    theirs = [edge for edge in edges if not declares(edge)]
    own, cut = _entries_of(identity, mine)
    own = [*own, *_unverified(identity, now)]
    others, unlisted = foreign.run(
        lambda: _foreign(identity, theirs, EDGE_LIMIT - len(own)), lambda _: ([], len(theirs))
    )
    entries = (*own[:EDGE_LIMIT], *others)
    left = cut + _ports_of(own[EDGE_LIMIT:]) + unlisted
    return ListedEdges(entries, min(left, UNLISTED_LIMIT))


def _foreign(
    identity: ServiceIdentity, edges: list[Edge], room: int
) -> tuple[list[EdgeStatus], int]:
    """Return the entries of edges that only others declare, and the number of edges without one.

    Other namespaces can declare any number of them, so entries, ports and bytes are limited.
    """
    me = identity.ref
    awaited = [each for each in edges if (_direction(me, each), each.state) in _AWAITED]
    others = [each for each in edges if (_direction(me, each), each.state) not in _AWAITED]
    others.sort(key=lambda edge: edge.reason not in _NOT_NARROWED)
    entries, cut = _entries_of(identity, others)
    # of a crowd, only those with an entry are read
    waiting = list(_grouped(identity, awaited).items())
    more, left = _as_entries(waiting[:AWAITED_LIMIT])
    unlisted = cut + left + sum(_count(group) for _, group in waiting[AWAITED_LIMIT:])
    listed: list[EdgeStatus] = []
    used = 0
    for entry in (*entries, *more):
        used += _size(entry)
        if len(listed) < room and used <= FOREIGN_BYTES:
            listed.append(entry)
        else:
            unlisted += len(entry.ports)
    return listed, unlisted


def _size(entry: EdgeStatus) -> int:
    """Return about how many bytes an entry has in a status."""
    named = len(entry.peer) + len(entry.reason or "") + len(entry.message or "")
    return 96 + named + sum(len(port) + 3 for port in entry.ports)


def with_closed_edges(
    status: Mapping[str, Any],
    identity: ServiceIdentity,
    narrowing: Narrowing,
    registry: Registry,
    now: datetime,
) -> Mapping[str, Any]:
    """Return a status with the identity's current edges, and those that a narrowing closes closed.

    This is for edges that cannot be planned, so it never raises. Replicas of other shards know the
    narrowing only from the status. So each edge that may be open there has an entry, also if it was
    declared after the last plan.
    """
    found = closed_edges(identity, narrowing, registry, now)
    edges = {"edges": [each.manifest() for each in found.entries]} if found.entries else {}
    return {**status, **edges} | ({"unlistedEdges": found.unlisted} if found.unlisted else {})


def closed_edges(
    identity: ServiceIdentity, narrowing: Narrowing, registry: Registry, now: datetime
) -> ListedEdges:
    """Return the identity's current edges, and those that a narrowing closes closed.

    See `with_closed_edges`.
    """
    part = ErrorBoundary()
    consented = part.read((), consented_from, registry, identity.ref, now)
    kept = ListedEdges(identity.status.edges, identity.status.unlisted_edges or 0)
    return part.read(kept, _closed, identity, narrowing, consented)


def _closed(
    identity: ServiceIdentity, narrowing: Narrowing, consented: Iterable[Edge]
) -> ListedEdges:
    """Return the edges of a status, those that a narrowing closes first.

    Edges that the identity declares come before the others, so others cannot fill the list.
    """
    calls, accepts = called(identity), accepted(identity)
    uncalled: dict[Ref, set[str]] = defaultdict(set)
    for edge in consented:
        if edge.callee not in calls:
            uncalled[edge.callee].add(edge.port)
    declared = (*_entries(accepts, Direction.INBOUND), *_entries(calls, Direction.OUTBOUND))
    unverified = {
        _peer_of(each.unverified) for each in identity.spec.accepts if each.unverified is not None
    }

    def closes(entry: EdgeStatus) -> bool:
        inbound = entry.direction is Direction.INBOUND
        return entry.peer not in unverified and narrowing.closes(
            Ref.parse(entry.peer), inbound=inbound
        )

    def closed(entry: EdgeStatus) -> EdgeStatus:
        if not closes(entry):
            return entry
        inbound = entry.direction is Direction.INBOUND
        reason = CALLEE_NOT_NARROWED if inbound else CALLER_NOT_NARROWED
        changes = {"reason": reason, "message": not_narrowed(identity.ref)}
        return entry.model_copy(update={"state": EdgeState.REFUSED, **changes})

    mine, listed = set(map(_side, declared)), set(map(_side, identity.status.edges))
    missing = [
        each
        for each in (*declared, *_entries(uncalled, Direction.OUTBOUND))
        if _side(each) not in listed and closes(each)
    ]
    entries = sorted(
        (*identity.status.edges, *missing),
        key=lambda entry: (not closes(entry), _side(entry) not in mine),
    )
    cut = [each for each in entries[EDGE_LIMIT:] if _side(each) in listed]
    unlisted = min((identity.status.unlisted_edges or 0) + _ports_of(cut), UNLISTED_LIMIT)
    return ListedEdges(tuple(map(closed, entries[:EDGE_LIMIT])), unlisted)


def _entries(peers: Mapping[Ref, AbstractSet[str]], direction: Direction) -> Iterator[EdgeStatus]:
    for peer in sorted(peers):
        ports = tuple(sorted(peers[peer]))[:PORT_LIMIT]
        yield EdgeStatus(peer=str(peer), direction=direction, ports=ports, state=EdgeState.REFUSED)


def _side(entry: EdgeStatus) -> tuple[str, Direction]:
    return entry.peer, entry.direction


def _ports_of(entries: Iterable[EdgeStatus]) -> int:
    return sum(len(entry.ports) for entry in entries)


_Group = tuple[Ref, Direction, EdgeState, str]
"""Peer, direction, state and reason, which the edges of an entry have in common."""


def _grouped(identity: ServiceIdentity, edges: Iterable[Edge]) -> dict[_Group, list[Edge]]:
    groups: dict[_Group, list[Edge]] = {}
    for edge in edges:
        direction = _direction(identity.ref, edge)
        peer = edge.caller if direction is Direction.INBOUND else edge.callee
        groups.setdefault((peer, direction, edge.state, edge.reason), []).append(edge)
    return groups


def _direction(me: Ref, edge: Edge) -> Direction:
    return Direction.INBOUND if edge.callee == me else Direction.OUTBOUND


def _count(group: Iterable[Edge]) -> int:
    return sum(len(edge.ports) for edge in group)


def _entries_of(identity: ServiceIdentity, edges: Iterable[Edge]) -> tuple[list[EdgeStatus], int]:
    """Return the entries of edges, and the number of edges that they do not list."""
    return _as_entries(_grouped(identity, edges).items())


def _as_entries(groups: Iterable[tuple[_Group, list[Edge]]]) -> tuple[list[EdgeStatus], int]:
    entries, cut = [], 0
    for (peer, direction, state, reason), group in groups:
        ports = [port for edge in group for port in sorted(edge.ports)]
        cut += len(ports[PORT_LIMIT:])
        entry = EdgeStatus(
            peer=str(peer),
            direction=direction,
            ports=tuple(ports[:PORT_LIMIT]),
            state=state,
            reason=reason or None,
            message=group[0].message[:MESSAGE_LIMIT] or None,
        )
        entries.append(entry)
    return entries, cut


def _declares(identity: ServiceIdentity) -> Callable[[Edge], bool]:
    accepts, calls = accepted(identity), called(identity)

    def declares(edge: Edge) -> bool:
        inbound = edge.callee == identity.ref
        ports, peer = (accepts, edge.caller) if inbound else (calls, edge.callee)
        return edge.port in ports.get(peer, ())

    return declares


def _unverified(identity: ServiceIdentity, now: datetime) -> Iterator[EdgeStatus]:
    for each in identity.spec.accepts:
        if each.unverified:
            fault = each.unverified.fault(now)
            message = f"open on the network only, without an identity: {each.unverified.reason}"
            if fault is not None:
                message = f"closed; see PeersVerified ({each.unverified.reason})"
            yield EdgeStatus(
                peer=_peer_of(each.unverified),
                direction=Direction.INBOUND,
                ports=each.ports,
                state=EdgeState.LIVE if fault is None else EdgeState.REFUSED,
                reason=fault or "Unverified",
                message=message[:MESSAGE_LIMIT],
            )


def _peer_of(unverified: Unverified) -> str:
    return describe_unverified(unverified)[:320]


def describe_unverified(unverified: Unverified) -> str:
    """Return a description of a peer without an identity: its CIDRs or selectors."""
    if unverified.cidrs is not None:
        return ", ".join(unverified.cidrs)
    parts = []
    for what, declared in (
        ("pods", unverified.pod_selector),
        ("namespaces", unverified.namespace_selector),
    ):
        if declared is not None:
            labels = [f"{key}={value}" for key, value in declared.match_labels.items()]
            labels += [
                f"{each.key} {each.operator} {','.join(each.values)}".strip()
                for each in declared.match_expressions
            ]
            parts.append(f"{what} {', '.join(labels)}")
    return " in ".join(parts)


def peers_agree(
    identity: ServiceIdentity, edges: tuple[Edge, ...], topics: tuple[TopicGrant, ...]
) -> Verdict:
    """Return the condition `PeersAgree`: every edge that the identity itself declares is live.

    Every TopicPolicy that it names exists and names it too. Whether the broker then has the grant
    is said in the status of the TopicPolicy.

    Declarations of others do not count, because with them they could make any service look
    unhealthy.
    """
    type_ = "PeersAgree"
    order = (EdgeState.REFUSED, EdgeState.SUSPENDED, EdgeState.AWAITING_CALLEE)
    declares = _declares(identity)
    open_ends = [edge for edge in edges if edge.state is not EdgeState.LIVE and declares(edge)]
    if not open_ends:
        for grant in topics:
            if grant.state is GrantState.AWAITING_POLICY and grant.entry.identity == identity.ref:
                return false(type_, grant.reason, grant.message)
        return true(type_, "AllLive", "every declared edge is live")
    for state in order:
        for edge in open_ends:
            if edge.state is state:
                return false(type_, edge.reason, edge.message)
    return false(type_, open_ends[0].reason, open_ends[0].message)
