"""Verdicts about traffic: what the NetworkPolicy of each identity allows, or would deny.

The policy is compiled as the operator compiles it with `enforcement: Enforce`. The verdict of an
identity is about its own policy alone: a connection needs the policies of both ends.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from troth.audit.facts.traffic import Endpoint, Flow
from troth.audit.finding import Object
from troth.audit.network.enforced import enforced_spec
from troth.audit.scene import Scene
from troth.audit.traffic.pod_networks import PodNetworks
from troth.audit.traffic.policy import End, Policy, PortNumber
from troth.audit.traffic.replies import without_replies
from troth.documents.probes import LABEL
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.reported import MOST_PEERS, PeerTraffic, TrafficDirection, TrafficVerdict

_SIDES = {TrafficDirection.INBOUND: "Ingress", TrafficDirection.OUTBOUND: "Egress"}


def verdicts(scene: Scene) -> dict[Ref, tuple[PeerTraffic, ...]]:
    """Return what each ServiceIdentity's status says of the traffic that was seen.

    The connections that enforcement would deny come first, then by peer and port; at most
    `MOST_PEERS`. An identity without traffic, or without a governing trust domain, is left out.
    """
    return {ref: peers[:MOST_PEERS] for ref, peers in judged(scene).peers.items()}


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts about all traffic, by identity."""

    peers: dict[Ref, tuple[PeerTraffic, ...]]
    """What `verdicts` returns, with every peer."""
    unjudged: dict[Ref, int]
    """Numbers of connections with pods that are gone, whose labels nobody knows. Those whose
    address the policy allows have a verdict."""


def judged(scene: Scene) -> Judged:
    """Return the verdicts about all traffic of a scene."""
    ends = _Ends(scene)
    peers: dict[Ref, list[PeerTraffic]] = defaultdict(list)
    unjudged: dict[Ref, int] = defaultdict(int)
    for ref, counts in sorted(_seen(scene, ends).items()):
        identity = scene.world.registry.identities[ref]
        spec = enforced_spec(scene, identity)
        if spec is None:
            continue
        policy, probed = Policy(spec, ref.namespace), _probed(scene, identity)
        for key, count in counts.items():
            if _is_allowed(key, policy, probed, ends):
                peers[ref].append(_traffic(key, count, ends, TrafficVerdict.ALLOWED))
            elif ends.is_gone(key.peer):
                unjudged[ref] += count.connections
            else:
                peers[ref].append(_traffic(key, count, ends, TrafficVerdict.WOULD_BE_DENIED))
    return Judged({ref: _merged(found) for ref, found in peers.items()}, dict(unjudged))


def _seen(scene: Scene, ends: "_Ends") -> "dict[Ref, dict[_Key, _Count]]":
    """Return the connections of each identity, without those of the pods of `troth prove`."""
    seen: dict[Ref, dict[_Key, _Count]] = defaultdict(dict)
    for flow in without_replies(scene.traffic.flows, ends.declares):
        if ends.is_probe(flow.source):
            continue
        for direction, mine, other in (
            (TrafficDirection.INBOUND, flow.destination, flow.source),
            (TrafficDirection.OUTBOUND, flow.source, flow.destination),
        ):
            for identity in ends.identities(mine.workload):
                key = _Key(other, direction, flow.port, flow.protocol, ends.host_network(mine))
                counts = seen[identity]
                counts[key] = counts[key].and_(flow) if key in counts else _Count.of(flow)
    return seen


@dataclass(frozen=True, slots=True)
class _Key:
    peer: Endpoint
    direction: TrafficDirection
    port: int
    protocol: str
    exempt: bool
    """Whether the pods of the identity are in the host network, so that no policy selects them."""


@dataclass(frozen=True, slots=True)
class _Count:
    connections: int
    first_seen: datetime
    last_seen: datetime

    @classmethod
    def of(cls, flow: "Flow | PeerTraffic") -> "_Count":
        return cls(flow.connections, flow.first_seen, flow.last_seen)

    def and_(self, other: "Flow | PeerTraffic") -> "_Count":
        return _Count(
            self.connections + other.connections,
            min(self.first_seen, other.first_seen),
            max(self.last_seen, other.last_seen),
        )


class _Ends:
    """Ends of connections, as policies and as people see them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._identities: dict[Object, tuple[Ref, ...]] = {}
        self._ends: dict[Endpoint, End] = {}
        self._pod_networks = PodNetworks.of(scene)

    def identities(self, workload: Object | None) -> tuple[Ref, ...]:
        """Return the identities whose policy selects the pods of a workload."""
        if workload is None:
            return ()
        if workload not in self._identities:
            labels = self._labels(workload)
            found = self._scene.identities_of(workload.ref.namespace, labels)
            self._identities[workload] = tuple(found)
        return self._identities[workload]

    def declares(self, flow: Flow) -> bool:
        """Return whether the destination of a flow declares its port, by itself or its identity."""
        place, port = flow.destination.workload, (flow.port, flow.protocol)
        if place is None:
            return False
        identities = self._scene.world.registry.identities
        for ref in self.identities(place):
            ports = identities[ref].spec.workload.ports
            if port in ((each.port, each.protocol.value) for each in ports):
                return True
        known = (self._scene.workload(place), *self._scene.pods_of(place))
        spec = next((each.spec for each in known if each), None)
        return spec is not None and port in ((each.number, each.protocol) for each in spec.ports)

    def is_probe(self, end: Endpoint) -> bool:
        """Return whether an end is a Job of `troth prove`, which tries what must be denied."""
        place = end.workload
        return place is not None and place.kind == "Job" and LABEL in self._labels(place)

    def is_gone(self, end: Endpoint) -> bool:
        """Return whether an end is, or may be, a pod that is gone: its labels are not known."""
        if end.workload is not None:
            known = self._scene.workload(end.workload) or self._scene.pods_of(end.workload)
            return not known
        return not end.address or (not self.is_node(end) and end.address in self._pod_networks)

    def is_node(self, end: Endpoint) -> bool:
        """Return whether an end is the address of a node."""
        return end.workload is None and end.address in self._scene.traffic.nodes

    def host_network(self, end: Endpoint) -> bool:
        """Return whether an end is a workload in the host network."""
        found = self._scene.workload(end.workload) if end.workload is not None else None
        return found is not None and found.spec.host_network

    def end(self, endpoint: Endpoint) -> End:
        """Return an endpoint as a NetworkPolicy sees it."""
        if endpoint not in self._ends:
            self._ends[endpoint] = self._seen(endpoint)
        return self._ends[endpoint]

    def name(self, endpoint: Endpoint) -> str:
        """Return an endpoint as a status names it."""
        if endpoint.workload is None:
            return endpoint.address
        found = self.identities(endpoint.workload)
        return str(found[0]) if len(found) == 1 else str(endpoint.workload)

    def _seen(self, endpoint: Endpoint) -> End:
        workload = endpoint.workload
        if workload is None:
            return End((endpoint.address,) if endpoint.address else ())
        addresses = {each for pod in self._scene.pods_of(workload) for each in pod.addresses}
        if self.host_network(endpoint):  # enforcers see the node
            return End(tuple(sorted(addresses)))
        namespace = workload.ref.namespace
        return End(
            tuple(sorted(addresses)),
            namespace,
            self._scene.labels_of_namespace(namespace),
            self._labels(workload),
        )

    def _labels(self, place: Object) -> Mapping[str, str]:
        workload = self._scene.workload(place)
        if workload is not None:
            return workload.labels
        return next((pod.labels for pod in self._scene.pods_of(place)), {})


def _probed(scene: Scene, identity: ServiceIdentity) -> frozenset[int]:
    """Return the ports that only a pod's own node probes, which every network admits.

    A network that does not is named by the trust domain, and then the policy opens these ports.
    """
    domain = scene.world.registry.governance(identity.ref.namespace).domain
    if domain is None or domain.spec.network.probes is not None:
        return frozenset()
    named = identity.spec.exceptions.probes
    return frozenset(each.port for each in identity.spec.workload.ports if each.name in named)


def _is_allowed(key: _Key, policy: Policy, probed: frozenset[int], ends: _Ends) -> bool:
    if key.exempt:
        return True
    inbound = key.direction is TrafficDirection.INBOUND
    if inbound and key.port in probed and ends.is_node(key.peer):
        return True
    port = PortNumber(key.port, key.protocol)
    return policy.allows(_SIDES[key.direction], ends.end(key.peer), port)


def _traffic(key: _Key, count: _Count, ends: _Ends, verdict: TrafficVerdict) -> PeerTraffic:
    return PeerTraffic(
        peer=ends.name(key.peer),
        direction=key.direction,
        port=key.port,
        protocol=key.protocol,
        verdict=verdict,
        connections=count.connections,
        first_seen=count.first_seen,
        last_seen=count.last_seen,
    )


def _merged(peers: Iterable[PeerTraffic]) -> tuple[PeerTraffic, ...]:
    """Return one entry for each peer, direction, port and verdict, in order."""
    found: dict[tuple[bool, str, str, int, str], PeerTraffic] = {}
    for each in peers:
        allowed = each.verdict is TrafficVerdict.ALLOWED
        key = allowed, each.direction.value, each.peer, each.port, each.protocol
        found[key] = _sum(found[key], each) if key in found else each
    return tuple(each for _, each in sorted(found.items()))


def _sum(one: PeerTraffic, other: PeerTraffic) -> PeerTraffic:
    count = _Count.of(one).and_(other)
    return one.model_copy(
        update={
            "connections": count.connections,
            "first_seen": count.first_seen,
            "last_seen": count.last_seen,
        }
    )
