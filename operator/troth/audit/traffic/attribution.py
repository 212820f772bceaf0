"""Says whose connections an agent saw: which workload had an address at that time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.audit.traffic.agent_lines import AgentLog, Summary
from troth.audit.traffic.pairs import Pair, Sighting
from troth.resources.references import Ref

CONNTRACK = "conntrack"
"""Name of the agents as a source of evidence."""
LINGER = timedelta(minutes=3)
"""Time for which the kernel and an agent may show a connection after its pod is gone."""
TOGETHER = timedelta(hours=1)
"""Time within which the agents of all nodes start."""
LONGEST_GAP = 10
"""Seconds for which the kernel keeps a closed connection, at least."""


@dataclass(frozen=True, slots=True)
class Tenure:
    """Time for which a workload's pod had an address."""

    workload: Object
    since: datetime | None
    """None if it is not known, or for a Service; then the address is nobody's."""
    until: datetime | None = None
    """None if the pod still has it."""


Tenures = Mapping[str, Iterable[Tenure]]
"""Tenures by address."""


def tenures_of(scene: Scene) -> dict[str, list[Tenure]]:
    """Return who has which address now, and which ended pods, such as those of Jobs, had one.

    Pods in the host network have none of their own.

    Addresses of Services are nobody's, and no node's: kube-proxy in IPVS mode gives them to each
    node.
    """
    found: dict[str, list[Tenure]] = {}
    for each in scene.objects("Service"):
        for address in _addresses_of(each):
            found.setdefault(address, []).append(Tenure(Object("Service", Ref.of(each)), None))
    for namespace in scene.namespaces():
        ended = (each for each in scene.ended_in(namespace) if each.ended_at is not None)
        for pod in (*scene.pods_in(namespace), *ended):
            if not pod.spec.host_network:
                workload = scene.workload_of(pod.workload)
                tenure = Tenure(workload, pod.started_at, pod.ended_at)
                for address in pod.addresses:
                    found.setdefault(address, []).append(tenure)
    return found


def _addresses_of(service: dict[str, Any]) -> set[str]:
    spec, status = service.get("spec") or {}, service.get("status") or {}
    balanced = (status.get("loadBalancer") or {}).get("ingress") or ()
    return {
        str(each)
        for each in (
            spec.get("clusterIP"),
            *(spec.get("clusterIPs") or ()),
            *(spec.get("externalIPs") or ()),
            *(each.get("ip") for each in balanced),
        )
        if each
    }


def nodes_of(scene: Scene) -> frozenset[str]:
    """Return the addresses of nodes, as Nodes and pods in the host network show them."""
    of_nodes = (
        str(each.get("address"))
        for node in scene.objects("Node")
        for each in (node.get("status") or {}).get("addresses") or ()
        if each.get("type") in ("InternalIP", "ExternalIP")
    )
    of_pods = (
        address
        for namespace in scene.namespaces()
        for pod in scene.pods_in(namespace)
        if pod.spec.host_network
        for address in pod.addresses
    )
    return frozenset((*of_nodes, *of_pods))


def attributed(
    logs: Iterable[AgentLog],
    tenures: Tenures,
    missing: Iterable[str] = (),
    nodes: frozenset[str] = frozenset(),
) -> Traffic:
    """Return the traffic that agents saw.

    The agents of both nodes see a connection between them, so the higher count holds. `missing`
    names nodes and logs that could not be read, each with the reason. `nodes` are addresses of
    nodes besides those that the agents name.
    """
    together = MergedLogs()
    for log in logs:
        together.take(log)
    return together.traffic(tenures, missing, nodes)


@dataclass(slots=True)
class MergedLogs:
    """The logs of several agents as one, so that only one of them is in memory at a time."""

    most: int | None = None
    """Maximum number of pairs, None without a limit."""
    _pairs: dict[Pair, Sighting] = field(default_factory=dict)
    _blind: list[str] = field(default_factory=list)
    _summaries: list[Summary] = field(default_factory=list)

    def take(self, log: AgentLog) -> None:
        """Take in a log. Pairs beyond the limit are left out, which `blind` says."""
        if log.summary is None:
            self._blind.append(f"{log.source or 'a log'} has no line of a node agent")
            return
        self._summaries.append(log.summary)
        self._blind += _blind(log.summary)
        is_over = False
        for pair, sighting in log.pairs.items():
            known = self._pairs.get(pair)
            if known is None and self.most is not None and len(self._pairs) >= self.most:
                is_over = True
            else:
                self._pairs[pair] = sighting if known is None else _both(known, sighting)
        if is_over:
            self._blind.append(
                f"node {log.summary.node}: pairs are left out, because all nodes together have "
                f"more than {self.most}"
            )

    def traffic(self, tenures: Tenures, missing: Iterable[str], nodes: frozenset[str]) -> Traffic:
        """Return the traffic of all logs; the arguments are those of `attributed`."""
        own = {address for each in self._summaries for address in each.addresses}
        flows: dict[tuple[Endpoint, Endpoint, int, str], Flow] = {}
        for pair, sighting in sorted(self._pairs.items()):
            flow = _flow(pair, sighting, tenures)
            key = flow.source, flow.destination, flow.port, flow.protocol
            flows[key] = flow if key not in flows else merged(flows[key], flow)
        return Traffic(
            tuple(flows.values()),
            min((each.since for each in self._summaries), default=None),
            (*missing, *self._blind, *_late(self._summaries)),
            nodes | {each for each in own if each not in tenures},
        )


def _blind(summary: Summary) -> Iterable[str]:
    node = f"node {summary.node}"
    if summary.problem:
        yield f"{node}: {summary.problem}"
    if summary.dropped:
        yield f"{node}: more pairs than the agent remembers, so it dropped the oldest"
    if summary.gap > LONGEST_GAP:
        yield (
            f"{node}: {summary.gap} s passed between two looks, and the kernel keeps closed "
            f"connections for {LONGEST_GAP} s, so short ones may be missing"
        )


def _late(summaries: list[Summary]) -> Iterable[str]:
    """Yield a sentence for each agent that began after the others, such as one that restarted."""
    first = min((each.since for each in summaries), default=None)
    for each in summaries:
        if first is not None and each.since - first > TOGETHER:
            yield f"node {each.node}: watched only since {each.since:%Y-%m-%d %H:%M} UTC"


def _both(one: Sighting, other: Sighting) -> Sighting:
    return Sighting(
        max(one.connections, other.connections),
        min(one.first_seen, other.first_seen),
        max(one.last_seen, other.last_seen),
    )


def _flow(pair: Pair, sighting: Sighting, tenures: Tenures) -> Flow:
    source, since = _endpoint(pair.source, sighting, tenures)
    destination, since_then = _endpoint(pair.destination, sighting, tenures)
    return Flow(
        source,
        destination,
        pair.port,
        pair.protocol,
        sighting.connections,
        max(each for each in (sighting.first_seen, since, since_then) if each is not None),
        sighting.last_seen,
        CONNTRACK,
    )


def _endpoint(
    address: str, sighting: Sighting, tenures: Tenures
) -> tuple[Endpoint, datetime | None]:
    """Return an end of a connection, and the time since which it was that end.

    If a pod got the address while the pair was seen, the pair is the pod's only if it was seen
    longer after that than a connection of an earlier pod could be. If several pods had it, it is
    nobody's.
    """
    held = [each for each in tenures.get(address, ()) if _covers(each, sighting)]
    if len({each.workload for each in held}) != 1:
        return Endpoint(None, address), None
    (since, *_) = sorted(each.since for each in held if each.since is not None)
    return Endpoint(held[0].workload), since if since > sighting.first_seen else None


def _covers(tenure: Tenure, sighting: Sighting) -> bool:
    if tenure.since is None:
        return False
    began = sighting.first_seen >= tenure.since or sighting.last_seen >= tenure.since + LINGER
    ended = tenure.until is not None and sighting.last_seen > tenure.until + LINGER
    return began and not ended


def merged(one: Flow, other: Flow) -> Flow:
    """Return two flows between the same ends as one."""
    return Flow(
        one.source,
        one.destination,
        one.port,
        one.protocol,
        one.connections + other.connections,
        min(one.first_seen, other.first_seen),
        max(one.last_seen, other.last_seen),
        one.seen_by,
    )
