"""The NetworkPolicy compiler: from live edges and declared exceptions to one policy a workload.

What is compiled keeps to what every enforcer agrees on: numbers for named ports, and a rule of
its own for every CIDR block (enforcers that put several blocks of a rule into one set let one
block's exceptions punch holes into the others). One rule per peer, so that a rule can be told
apart and kept while its edge is suspended.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from troth.planning.broker_reach import Reach, broker_rule
from troth.planning.issuers import PORT
from troth.planning.network_rules import (
    Peers,
    Rule,
    distinct,
    keep_open,
    listed,
    numbers,
    spec_of,
    standing_rule,
    unaccounted,
)
from troth.planning.strangers import collectors, pods_in, selector, unverified_peers
from troth.resources.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.resources.service_identity import Protocol, ServiceIdentity
from troth.resources.service_identity_status import EdgeState
from troth.resources.trust_domain import Network
from troth.trust.edge_question import find_port
from troth.trust.edges import Edge
from troth.world.facts import Content, Endpoint, Manifest


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the policy of one workload depends on.

    `peers` has the identity of every peer of an edge that can be read; `existing` is the policy as
    it stands, None without one; `issuer` are the pods that issue its tokens, None without any;
    `reach` is to which brokers it may go, and `brokers` are all that can be read.
    """

    identity: ServiceIdentity
    edges: tuple[Edge, ...]
    peers: Mapping[Ref, ServiceIdentity]
    network: Network
    api_endpoints: frozenset[Endpoint]
    existing: Content | None
    issuer: Manifest | None
    reach: Reach
    brokers: Mapping[Ref, MessageBroker]

    def standing(self, direction: str) -> list[Rule]:
        """Return the rules of the policy as it stands: of its `ingress` or its `egress`."""
        return (self.existing.content.get(direction) or []) if self.existing else []


def compile_policy(situation: Situation) -> Manifest:
    """Return the spec of the workload's NetworkPolicy: deny everything but what is listed."""
    outbound = list(_outbound(situation))
    return spec_of(
        selector(situation.identity.spec.workload.pod_selector),
        ingress=[*_exceptions(situation), *_inbound(situation), *_unverified(situation)],
        egress=[
            *_dns(situation),
            *outbound,
            *(rule for rule in distinct(_to_brokers(situation)) if rule not in outbound),
            *_external(situation),
            *_api_server(situation),
            *_issuer(situation),
        ],
    )


def closing_policy(situation: Situation) -> Manifest:
    """Return the policy without what cannot be compiled, for when `compile_policy` raises.

    Every part, and every peer, is compiled apart from the others. Nothing is in it that does not
    stand, except where no policy does.
    """
    by_peer: dict[Ref, list[Edge]] = {}
    me = situation.identity.ref
    for edge in situation.edges:
        by_peer.setdefault(edge.caller if edge.callee == me else edge.callee, []).append(edge)
    each_peer = [replace(situation, edges=tuple(edges)) for edges in by_peer.values()]
    spec = spec_of(
        selector(situation.identity.spec.workload.pod_selector),
        ingress=[
            *_apart(_exceptions, situation),
            *(rule for each in each_peer for rule in _apart(_inbound, each)),
            *_apart(_unverified, situation),
        ],
        egress=[
            *_apart(_dns, situation),
            *(rule for each in each_peer for rule in _apart(_outbound, each)),
            *_apart(_to_brokers, situation),
            *_apart(_external, situation),
            *_apart(_api_server, situation),
            *_apart(_issuer, situation),
        ],
    )
    if situation.existing is None:
        return spec
    kept = keep_open([spec], situation.existing.content)
    return {**kept, "podSelector": spec["podSelector"]}


def _apart(part: Callable[[Situation], Iterable[Rule]], situation: Situation) -> list[Rule]:
    """Return the rules of a part, none where it raises."""
    try:
        return list(part(situation))
    except Exception:  # noqa: BLE001 - what cannot be told to be declared is closed
        return []


def _exceptions(situation: Situation) -> Iterable[Rule]:
    network, exceptions = situation.network, situation.identity.spec.exceptions
    if network.probes and exceptions.probes:
        for cidr in network.probes.cidrs:
            peers = [{"ipBlock": {"cidr": cidr}}]
            yield {"from": peers, "ports": _named(situation, exceptions.probes)}
    if network.metrics and exceptions.metrics:
        ports, pods = _named(situation, exceptions.metrics), network.metrics.pod_selector
        for peer in collectors(situation.identity, network.metrics.namespace, pods):
            yield {"from": [peer], "ports": ports}


def _named(situation: Situation, names: Iterable[str]) -> list[Manifest]:
    ports = [find_port(situation.identity, name) for name in names]
    return numbers(port for port in ports if port is not None)


def _inbound(situation: Situation) -> Iterable[Rule]:
    me = situation.identity.ref
    yield from _by_peer(
        situation,
        "from",
        ((edge, edge.caller) for edge in situation.edges if edge.callee == me),
    )


def _outbound(situation: Situation) -> Iterable[Rule]:
    me = situation.identity.ref
    yield from _by_peer(
        situation,
        "to",
        ((edge, edge.callee) for edge in situation.edges if edge.caller == me),
    )


def _by_peer(situation: Situation, side: str, edges: Iterable[tuple[Edge, Ref]]) -> Iterable[Rule]:
    by_peer: dict[Ref, list[Edge]] = {}
    for edge, peer in edges:
        by_peer.setdefault(peer, []).append(edge)
    unsettled = any(
        edge.state is EdgeState.SUSPENDED for edges in by_peer.values() for edge in edges
    )
    direction = "ingress" if side == "from" else "egress"
    existing = situation.standing(direction) if unsettled else []
    kept: list[Rule] = []
    for peer, group in sorted(by_peer.items()):
        opened = [edge for edge in group if edge.state is EdgeState.LIVE]
        suspended = [edge for edge in group if edge.state is EdgeState.SUSPENDED]
        if suspended and peer not in situation.peers:
            found = list(_unaccounted(situation, side, peer.namespace, existing))
            yield from (rule for rule in found if rule not in kept)
            kept += found
            continue
        if suspended:
            wanted = _peer_rule(situation, side, peer, [*opened, *suspended])
            standing = standing_rule(side, wanted, existing)
            if standing is not None:
                yield standing
                continue
        if opened:
            yield _peer_rule(situation, side, peer, opened)


def _peer_rule(situation: Situation, side: str, peer: Ref, edges: list[Edge]) -> Rule:
    identity = situation.peers[peer]
    callees = [situation.peers[edge.callee] for edge in edges]
    ports = [find_port(callee, edge.port) for callee, edge in zip(callees, edges, strict=True)]
    return {
        side: [pods_in(peer.namespace, identity.spec.workload.pod_selector)],
        "ports": numbers(port for port in ports if port is not None),
    }


def _unaccounted(
    situation: Situation, side: str, namespace: str, existing: list[Rule]
) -> Iterable[Rule]:
    """Yield the rules that may be those of a peer or a broker that cannot be read, of which no more
    is known than its namespace.
    """
    elsewhere = [*_exceptions(situation), *_unverified(situation), *_dns(situation)]
    elsewhere += _issuer_rule(situation)
    others = list(_known_in(situation, namespace))
    return unaccounted(side, namespace, existing, others, elsewhere)


def _known_in(situation: Situation, namespace: str) -> Iterable[Peers]:
    """Yield the pods in a namespace of every identity and every broker that can be read."""
    for ref, identity in situation.peers.items():
        if ref.namespace == namespace:
            yield [pods_in(namespace, identity.spec.workload.pod_selector)]
    for ref, broker in situation.brokers.items():
        if ref.namespace == namespace and broker.spec.workload is not None:
            yield [pods_in(namespace, broker.spec.workload.pod_selector)]


def _to_brokers(situation: Situation) -> Iterable[Rule]:
    reach = situation.reach
    existing = situation.standing("egress") if reach.unsettled else []
    yield from map(broker_rule, reach.live)
    for broker in reach.staying:
        standing = standing_rule("to", broker_rule(broker), existing)
        if standing is not None:
            yield standing
    for namespace in sorted(reach.unread):
        yield from _unaccounted(situation, "to", namespace, existing)


def _unverified(situation: Situation) -> Iterable[Rule]:
    for accepted in situation.identity.spec.accepts:
        if accepted.unverified:
            ports = _named(situation, accepted.ports)
            for peer in unverified_peers(situation.identity, accepted.unverified):
                yield {"from": [peer], "ports": ports}


def _dns(situation: Situation) -> Iterable[Rule]:
    resolver = situation.network.dns
    yield {
        "to": [pods_in(resolver.namespace, resolver.pod_selector)],
        "ports": listed([(Protocol.UDP, resolver.port), (Protocol.TCP, resolver.port)]),
    }


def _external(situation: Situation) -> Iterable[Rule]:
    for call in situation.identity.spec.calls:
        if call.external:
            ports = listed((Protocol.TCP, number) for number in call.external.ports)
            for cidr in call.external.cidrs:
                yield {"to": [{"ipBlock": {"cidr": cidr}}], "ports": ports}


def _api_server(situation: Situation) -> Iterable[Rule]:
    if any(call.kubernetes_api for call in situation.identity.spec.calls):
        for endpoint in sorted(situation.api_endpoints):
            address = ip_address(endpoint.address)
            yield {
                "to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}],
                "ports": listed([(Protocol.TCP, endpoint.port)]),
            }


def _issuer(situation: Situation) -> Iterable[Rule]:
    """Yield the way to the issuer, for who needs tokens or starts transactions.

    While the only edges that need tokens are suspended it stays if it is there.
    """
    me, starts = situation.identity, situation.identity.spec.starts_transactions
    states = {
        edge.state
        for edge in situation.edges
        if edge.caller == me.ref
        and (callee := situation.peers.get(edge.callee)) is not None
        and callee.spec.authentication.token is not None
    }
    for rule in _issuer_rule(situation):
        stays = EdgeState.SUSPENDED in states and rule in situation.standing("egress")
        if starts is not None or EdgeState.LIVE in states or stays:
            yield rule


def _issuer_rule(situation: Situation) -> list[Rule]:
    if situation.issuer is None:
        return []
    return [{"to": [situation.issuer], "ports": listed([(Protocol.TCP, PORT)])}]
