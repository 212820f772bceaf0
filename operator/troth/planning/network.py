"""The NetworkPolicy compiler: from live edges and declared exceptions to one policy a workload.

What is compiled keeps to what every enforcer agrees on: numbers for named ports, and a rule of
its own for every CIDR block (enforcers that put several blocks of a rule into one set let one
block's exceptions punch holes into the others). One rule per peer, so that a rule can be told
apart and kept while its edge is suspended.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from troth.planning.issuers import PORT
from troth.planning.strangers import (
    NAMESPACE_NAME,
    collectors,
    pods_in,
    selector,
    unverified_peers,
)
from troth.resources.references import Ref
from troth.resources.service_identity import Port, Protocol, ServiceIdentity
from troth.resources.service_identity_status import EdgeState
from troth.resources.trust_domain import Network
from troth.trust.edges import Edge, find_port
from troth.world.facts import Content, Endpoint, Manifest

Rule = dict[str, Any]


def _ports(ports: Iterable[tuple[Protocol, int]]) -> list[Manifest]:
    return [
        {"protocol": protocol.value, "port": number}
        for protocol, number in sorted(set(ports), key=lambda pair: (pair[1], pair[0].value))
    ]


def _numbers(ports: Iterable[Port]) -> list[Manifest]:
    return _ports((port.protocol, port.port) for port in ports)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the policy of one workload depends on.

    `peers` has the identity of every peer of an edge that can be read; `existing` is the policy as
    it stands, None without one; `issuer` are the pods that issue its tokens, None without any.
    """

    identity: ServiceIdentity
    edges: tuple[Edge, ...]
    peers: Mapping[Ref, ServiceIdentity]
    network: Network
    api_endpoints: frozenset[Endpoint]
    existing: Content | None
    issuer: Manifest | None = None

    def standing(self, direction: str) -> list[Rule]:
        """Return the rules of the policy as it stands: of its `ingress` or its `egress`."""
        return (self.existing.content.get(direction) or []) if self.existing else []


def compile_policy(situation: Situation) -> Manifest:
    """Return the spec of the workload's NetworkPolicy: deny everything but what is listed."""
    return _spec(
        selector(situation.identity.spec.workload.pod_selector),
        [*_exceptions(situation), *_inbound(situation), *_unverified(situation)],
        [
            *_dns(situation),
            *_outbound(situation),
            *_external(situation),
            *_api_server(situation),
            *_issuer(situation),
        ],
    )


def keep_open(specs: Iterable[Manifest], existing: Mapping[str, Any]) -> Manifest:
    """Return `existing` without the rules that none of `specs` has any more; nothing is added.

    For a workload whose own standing is unsettled: what was open stays open unless it was taken
    back, and nothing opens. There is one spec for each trust domain that claims the workload.
    """
    allowed = list(specs)
    ingress, egress = (
        [
            rule
            for rule in existing.get(side) or []
            if any(rule in spec.get(side, []) for spec in allowed)
        ]
        for side in ("ingress", "egress")
    )
    return _spec(existing["podSelector"], ingress, egress)


def _spec(pods: Manifest, ingress: list[Rule], egress: list[Rule]) -> Manifest:
    """Return a policy's spec as the API server stores it: without empty lists."""
    spec: Manifest = {"podSelector": pods, "policyTypes": ["Ingress", "Egress"]}
    if ingress:
        spec["ingress"] = ingress
    if egress:
        spec["egress"] = egress
    return spec


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
    return _numbers(port for port in ports if port is not None)


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
            found = list(_unaccounted(situation, side, peer, existing))
            yield from (rule for rule in found if rule not in kept)
            kept += found
            continue
        if suspended:
            standing = _standing(situation, side, peer, [*opened, *suspended], existing)
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
        "ports": _numbers(port for port in ports if port is not None),
    }


def _standing(
    situation: Situation, side: str, peer: Ref, edges: list[Edge], existing: list[Rule]
) -> Rule | None:
    """Return what stands of a peer's rule while some of its edges are suspended."""
    wanted = _peer_rule(situation, side, peer, edges)
    for rule in existing:
        if rule.get(side) == wanted[side]:
            standing = rule.get("ports") or []  # without ports: a hand's work, which opened all
            ports = [port for port in wanted["ports"] if port in standing]
            return {**wanted, "ports": ports} if ports else None
    return None


def _unaccounted(
    situation: Situation, side: str, peer: Ref, existing: list[Rule]
) -> Iterable[Rule]:
    """Yield the rules that may be those of a peer that cannot be read.

    Such a peer is known by its namespace alone, so every rule for pods there is kept that is
    neither another peer's nor one of the workload's own exceptions.
    """
    others = [
        [pods_in(ref.namespace, identity.spec.workload.pod_selector)]
        for ref, identity in situation.peers.items()
        if ref.namespace == peer.namespace
    ]
    elsewhere = [*_exceptions(situation), *_unverified(situation), *_dns(situation)]
    elsewhere += _issuer_rule(situation)
    for rule in existing:
        peers = rule.get(side) or [{}]
        labels = (peers[0].get("namespaceSelector") or {}).get("matchLabels")
        there = len(peers) == 1 and labels == {NAMESPACE_NAME: peer.namespace}
        confined = peers[0].get("podSelector") and rule.get("ports")
        if there and confined and peers not in others and rule not in elsewhere:
            yield rule


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
        "ports": _ports([(Protocol.UDP, resolver.port), (Protocol.TCP, resolver.port)]),
    }


def _external(situation: Situation) -> Iterable[Rule]:
    for call in situation.identity.spec.calls:
        if call.external:
            ports = _ports((Protocol.TCP, number) for number in call.external.ports)
            for cidr in call.external.cidrs:
                yield {"to": [{"ipBlock": {"cidr": cidr}}], "ports": ports}


def _api_server(situation: Situation) -> Iterable[Rule]:
    if any(call.kubernetes_api for call in situation.identity.spec.calls):
        for endpoint in sorted(situation.api_endpoints):
            address = ip_address(endpoint.address)
            yield {
                "to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}],
                "ports": _ports([(Protocol.TCP, endpoint.port)]),
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
    return [{"to": [situation.issuer], "ports": _ports([(Protocol.TCP, PORT)])}]
