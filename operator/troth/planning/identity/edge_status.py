"""The edges in an identity's status."""

from collections.abc import Callable, Iterator
from datetime import datetime

from troth.planning.status import false, true
from troth.resources.conditions import Verdict
from troth.resources.identity.peers import Unverified
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import Direction, EdgeState, EdgeStatus
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.peers import accepted, called
from troth.trust.edges.evaluation import Edge
from troth.trust.topics.evaluation import TopicGrant

EDGE_LIMIT = 1024
"""Maximum entries in a status. Other namespaces can declare any number of calls."""


def edge_statuses(
    identity: ServiceIdentity, edges: tuple[Edge, ...], now: datetime
) -> tuple[EdgeStatus, ...]:
    """Return the status entries: the identity's own declarations first, then those of others."""
    mine: list[EdgeStatus] = []
    theirs: list[EdgeStatus] = []
    for entry, declared in _grouped(identity, edges):
        (mine if declared else theirs).append(entry)
    return (*mine, *_unverified(identity, now), *theirs)[:EDGE_LIMIT]


def _grouped(
    identity: ServiceIdentity, edges: tuple[Edge, ...]
) -> Iterator[tuple[EdgeStatus, bool]]:
    me, declares = identity.ref, _declares(identity)
    groups: dict[tuple[Ref, Direction, EdgeState, str, bool], list[Edge]] = {}
    for edge in edges:
        inbound = edge.callee == me
        peer, direction = (
            (edge.caller, Direction.INBOUND) if inbound else (edge.callee, Direction.OUTBOUND)
        )
        key = (peer, direction, edge.state, edge.reason, declares(edge))
        groups.setdefault(key, []).append(edge)
    for (peer, direction, state, reason, declared), group in groups.items():
        entry = EdgeStatus(
            peer=str(peer),
            direction=direction,
            ports=tuple(edge.port for edge in group),
            state=state,
            reason=reason or None,
            message=group[0].message or None,
        )
        yield entry, declared


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
                peer=describe_unverified(each.unverified)[:320],
                direction=Direction.INBOUND,
                ports=each.ports,
                state=EdgeState.LIVE if fault is None else EdgeState.REFUSED,
                reason=fault or "Unverified",
                message=message[:1024],
            )


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
