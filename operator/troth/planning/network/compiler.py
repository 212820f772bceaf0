"""The NetworkPolicy compiler: from live edges and declared exceptions to one policy per workload.

The compiler uses only features on which all enforcers agree. Ports are numbers, never names. Every
CIDR block has its own rule, because some enforcers put several blocks of a rule into one set, so
that one block's exceptions punch holes into the others. Every peer has its own rule, so that the
compiler can identify and keep a rule while its edge is suspended.

While an edge is suspended or the workload is unsettled, open ports stay open unless they are
revoked, and no new one opens. See docs/decisions/0032-remembered-edges.md.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from troth.planning.network import unconsented_rules
from troth.planning.network.external_peers import pods_in, selector
from troth.planning.network.issuers import PORT
from troth.planning.network.live_peers import (
    NO_PEERS,
    CurrentPolicy,
    PeerList,
    PeerRule,
    Side,
    narrowed_pods,
    written,
)
from troth.planning.network.policy_inputs import PolicyInputs
from troth.planning.network.rules import (
    Pair,
    Rule,
    distinct,
    listed,
    open_part,
    ports_of,
    spec_of,
)
from troth.resources.identity.spec import Protocol as PortProtocol
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.messaging.message_broker import BrokerWorkload, MessageBroker
from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector
from troth.trust.edges.candidate import find_port
from troth.trust.edges.evaluation import Edge
from troth.world.facts.objects import Content, Manifest, canonical

MOST = 1_200_000
"""Maximum size of a spec in bytes. etcd accepts requests of 1.5 MiB, metadata included."""
ALWAYS_FIT = 80
"""Number of rules that always fit, so that their size is not computed.

A rule takes at most 15,000 bytes, if the pod selector of its peer has the largest permitted size.
"""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Spec of a NetworkPolicy, and the list of live peers that it was compiled with."""

    spec: Manifest
    peers: PeerList = NO_PEERS

    @property
    def live_peers(self) -> str:
        """The list of live peers as text."""
        return self.peers.text

    @property
    def overflows(self) -> bool:
        """Return whether the policy is too large for the API server, or for its list of peers."""
        if not self.peers.is_complete:
            return True
        rules = sum(len(self.spec.get(side) or ()) for side in ("ingress", "egress"))
        return rules > ALWAYS_FIT and len(canonical(self.spec)) > MOST


def compile_policy(situation: PolicyInputs) -> Compiled:
    """Return the workload's NetworkPolicy, which denies everything that it does not list."""
    return _compiled(situation, situation.identity.spec.workload.pod_selector)


def keep_open(situation: PolicyInputs) -> Compiled:
    """Return the existing policy without the parts that are no longer declared. Nothing opens.

    This is for an unsettled workload. If its pod selector has changed, open ports stay open to the
    pods that match both selectors. If no pod can match both, the policy denies the newly selected
    pods everything.
    """
    assert situation.existing is not None
    declared = situation.identity.spec.workload.pod_selector
    staying = narrowed_pods(situation.existing.content.get("podSelector") or {}, declared)
    return deny_all(situation.identity) if staying is None else _compiled(situation, staying)


def deny_all(identity: ServiceIdentity) -> Compiled:
    """Return a policy that denies an identity's pods all traffic."""
    return Compiled(spec_of(selector(identity.spec.workload.pod_selector), ingress=[], egress=[]))


def begin_closed(situation: PolicyInputs, *, exceptions: bool) -> Compiled:
    """Return the first policy of an unsettled workload.

    It denies everything except the resolver and, with `exceptions`, the ports for probes and
    metrics, each only if every trust domain that claims the workload opens it.
    """
    each = [replace(situation, claims=(claim,)) for claim in situation.claims]
    ingress = (
        _in_all([list(unconsented_rules.exceptions(one)) for one in each]) if exceptions else []
    )
    return Compiled(
        spec_of(
            selector(situation.identity.spec.workload.pod_selector),
            ingress=ingress,
            egress=_in_all([list(unconsented_rules.dns(one)) for one in each]),
        )
    )


def _in_all(alternatives: list[list[Rule]]) -> list[Rule]:
    """Return the rules, by peer and port, that every one of several lists opens."""
    if not alternatives:
        return []
    first, *others = alternatives
    rules = list(first)
    for other in others:
        rules = [part for rule in rules if (part := open_part(rule, other)) is not None]
    return rules


def without_openings(compiled: Compiled, existing: Content) -> Compiled:
    """Return the part of a compiled policy that the existing policy already opens."""
    sides = {side: existing.content.get(side) or [] for side in ("ingress", "egress")}
    spec = spec_of(
        compiled.spec["podSelector"],
        **{
            side: [
                part
                for rule in compiled.spec.get(side) or []
                if (part := open_part(rule, there)) is not None
            ]
            for side, there in sides.items()
        },
    )
    return Compiled(spec, compiled.peers)


def closing_policy(situation: PolicyInputs) -> Compiled:
    """Return the policy without the parts that cannot be compiled, for when `compile_policy` fails.

    Every part and every peer is compiled in isolation. The result opens nothing that an existing
    policy does not open.
    """
    existing = situation.existing
    declared = situation.identity.spec.workload.pod_selector
    if not situation.settled and (
        existing is None or existing.content.get("podSelector") != selector(declared)
    ):
        return deny_all(situation.identity)
    compiled = _compiled(situation, declared, _or_nothing)
    return without_openings(compiled, existing) if existing is not None else compiled


_Part = TypeVar("_Part")


class _Run(Protocol):
    """Function that compiles one part of a policy."""

    def __call__(self, part: Callable[[], Iterable[_Part]]) -> list[_Part]:
        """Return the rules of `part`."""


def _all_of(part: Callable[[], Iterable[_Part]]) -> list[_Part]:
    return list(part())


def _or_nothing(part: Callable[[], Iterable[_Part]]) -> list[_Part]:
    """Return the rules of a part, none if it raises an exception."""
    try:
        return list(part())
    except Exception:  # noqa: BLE001 - fail closed on any error
        return []


def _compiled(situation: PolicyInputs, pods: LabelSelector, run: _Run = _all_of) -> Compiled:
    reach, edges = situation.reach, situation.edges
    suspended = any(edge.state is EdgeState.SUSPENDED for edge in edges)
    unsettled = suspended or reach.unsettled or not situation.settled
    current = CurrentPolicy()
    if unsettled:
        (current,) = run(lambda: [CurrentPolicy.of(situation.existing)]) or [current]
    inbound = _edge_rules(situation, current, Side.FROM, run)
    outbound = _edge_rules(situation, current, Side.TO, run)
    brokers = run(lambda: _broker_rules(situation, current))
    left_out = _left_out(situation, current)
    to_peers = [each.rule for each in outbound]
    to_brokers = [rule for rule in distinct(each.rule for each in brokers) if rule not in to_peers]
    spec = spec_of(
        selector(pods),
        ingress=[
            *run(lambda: _others(situation, left_out, unconsented_rules.exceptions, "ingress")),
            *(each.rule for each in inbound),
            *run(lambda: _others(situation, left_out, unconsented_rules.unverified, "ingress")),
        ],
        egress=[
            *run(lambda: _others(situation, left_out, unconsented_rules.dns, "egress")),
            *to_peers,
            *to_brokers,
            *run(lambda: _others(situation, left_out, unconsented_rules.external, "egress")),
            *run(lambda: _others(situation, left_out, unconsented_rules.api_server, "egress")),
            *run(lambda: _issuer(situation, {each.ref for each in outbound})),
        ],
    )
    remembered = written([*inbound, *outbound, *brokers], left_out if left_out != pods else None)
    return Compiled(spec, remembered)


def _left_out(situation: PolicyInputs, current: CurrentPolicy) -> LabelSelector:
    """Return the selector of the workload's own pods, which the rules leave out.

    The selector stays the same while the workload is unsettled. Otherwise a change of the pod
    selector would change open rules.
    """
    declared = situation.identity.spec.workload.pod_selector
    if situation.settled or situation.existing is None:
        return declared
    return current.left_out(situation.existing) or declared


def _others(
    situation: PolicyInputs,
    left_out: LabelSelector,
    rules: Callable[[PolicyInputs], Iterable[Rule]],
    direction: str,
) -> Iterator[Rule]:
    """Yield the rules that need no consent; for an unsettled workload, only their open parts."""
    if situation.settled:
        yield from rules(situation)
        return
    there = situation.rules(direction)
    parts = (open_part(rule, there) for rule in distinct(rules(_with_pods(situation, left_out))))
    yield from distinct(part for part in parts if part is not None)


def _with_pods(situation: PolicyInputs, pods: LabelSelector) -> PolicyInputs:
    """Return the situation with the workload's pod selector replaced by `pods`."""
    identity = situation.identity
    workload = identity.spec.workload.model_copy(update={"pod_selector": pods})
    spec = identity.spec.model_copy(update={"workload": workload})
    return replace(situation, identity=identity.model_copy(update={"spec": spec}))


def _edge_rules(
    situation: PolicyInputs, current: CurrentPolicy, side: Side, run: _Run
) -> list[PeerRule]:
    """Return the rules for one side's live edges, and the open parts of its suspended edges."""
    me, inbound = situation.identity.ref, side is Side.FROM
    by_peer: dict[Ref, list[Edge]] = {}
    for edge in situation.edges:
        mine, peer = (edge.callee, edge.caller) if inbound else (edge.caller, edge.callee)
        if mine == me and edge.state in (EdgeState.LIVE, EdgeState.SUSPENDED):
            by_peer.setdefault(peer, []).append(edge)
    return [
        rule
        for peer, group in sorted(by_peer.items())
        for rule in run(partial(_peer_rules, situation, current, side, peer, group))
    ]


def _peer_rules(
    situation: PolicyInputs, current: CurrentPolicy, side: Side, peer: Ref, group: list[Edge]
) -> Iterator[PeerRule]:
    opened = [each for each in group if each.state is EdgeState.LIVE and situation.settled]
    identity = situation.peers.get(peer)
    pods = identity.spec.workload.pod_selector if identity else None
    kept = current.kept(side, peer, pods, _ports(situation, group, opened))
    yield from _merged(side, peer, pods, _ports(situation, opened), kept)


def _ports(
    situation: PolicyInputs, edges: Iterable[Edge], without: Iterable[Edge] = ()
) -> dict[str, Pair | None]:
    """Return the ports of edges by name; None for a port whose callee cannot be read."""
    ports: dict[str, Pair | None] = {}
    for edge in edges:
        callee = situation.peers.get(edge.callee)
        port = find_port(callee, edge.port) if callee is not None else None
        if edge not in without and (callee is None or port is not None):
            ports[edge.port] = (port.protocol, port.port) if port is not None else None
    return ports


def _merged(
    side: Side,
    ref: Ref,
    pods: LabelSelector | None,
    live: Mapping[str, Pair | None],
    kept: Iterable[PeerRule],
) -> Iterator[PeerRule]:
    """Yield one rule for each NetworkPolicy peer, with its live and kept ports."""
    rules: list[tuple[Manifest, dict[str, Pair]]] = []
    opened = {name: pair for name, pair in live.items() if pair is not None}
    if opened and pods is not None:
        rules.append((pods_in(ref.namespace, pods), opened))
    for each in kept:
        ports = next((ports for peer, ports in rules if peer == each.peer), None)
        if ports is None:
            rules.append((each.peer, dict(each.ports)))
        else:
            ports.update(each.ports)
    for peer, ports in rules:
        yield PeerRule(side, ref, peer, ports)


def _broker_rules(situation: PolicyInputs, current: CurrentPolicy) -> Iterator[PeerRule]:
    """Yield the rules to brokers with a live grant, and the open parts of rules to others."""
    reach = situation.reach
    staying = [*reach.staying]
    for broker in reach.live:
        if situation.settled:
            workload = _described(broker)
            peer = pods_in(broker.ref.namespace, workload.pod_selector)
            yield PeerRule(Side.BROKERS, broker.ref, peer, ports_of(workload))
        else:
            staying.append(broker)
    for broker in staying:
        workload = _described(broker)
        kept = current.kept(Side.BROKERS, broker.ref, workload.pod_selector, ports_of(workload))
        yield from _merged(Side.BROKERS, broker.ref, workload.pod_selector, {}, kept)
    for ref in sorted(reach.unread):
        yield from current.kept(Side.BROKERS, ref, None, None)


def _described(broker: MessageBroker) -> BrokerWorkload:
    """Return the workload of a broker in `ReachableBrokers`, which always declares one."""
    assert broker.spec.workload is not None
    return broker.spec.workload


def _issuer(situation: PolicyInputs, callees: Collection[Ref]) -> Iterator[Rule]:
    """Yield the rules to the issuer, if the workload needs tokens or starts transactions.

    `callees` are the callees that the policy opens. While all edges that need tokens are suspended,
    a rule to the issuer stays if it is open.
    """
    me, starts = situation.identity, situation.identity.spec.starts_transactions is not None
    asking = {ref for ref in callees if _asks_for_tokens(situation, ref)}
    live = any(
        edge.caller == me.ref and edge.callee in asking and edge.state is EdgeState.LIVE
        for edge in situation.edges
    )
    for rule in distinct(_issuer_rules(situation)):
        if situation.settled and (starts or live):
            yield rule
        elif starts or asking:
            part = open_part(rule, situation.rules("egress"))
            if part is not None:
                yield part


def _asks_for_tokens(situation: PolicyInputs, callee: Ref) -> bool:
    identity = situation.peers.get(callee)
    return identity is not None and identity.spec.authentication.token is not None


def _issuer_rules(situation: PolicyInputs) -> Iterator[Rule]:
    for claim in situation.claims:
        if claim.issuer is not None:
            yield {"to": [claim.issuer], "ports": listed([(PortProtocol.TCP, PORT)])}
