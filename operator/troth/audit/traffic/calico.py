"""Reads Calico's flow logs: one JSON object a line.

Members: https://docs.tigera.io/calico-enterprise/latest/observability/elastic/flow/datatypes. Both
sides report a flow. Only the callee's side knows whether its policy allows it, so that side counts
for a pod.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.traffic.names import PodNames
from troth.audit.traffic.ports import port_number
from troth.audit.traffic.times import instant
from troth.resources.references import Ref

CALICO = "calico"
LONGEST_LINE = 256 * 1024
MOST_FLOWS = 100_000
_POD, _HOST = "wep", "hep"

Ends = tuple[Endpoint, Endpoint, int, str]


@dataclass(slots=True)
class _Seen:
    connections: int
    first: datetime
    last: datetime


def read_calico(lines: Iterable[str | bytes], names: PodNames) -> Traffic:
    """Return the traffic that Calico logged. Lines that cannot be read are counted in `blind`."""
    seen: dict[Ends, _Seen] = {}
    nodes: set[str] = set()
    unreadable = 0
    for line in lines:
        try:
            _take(line, names, seen, nodes)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            unreadable += 1 if line.strip() else 0
    flows = tuple(
        Flow(*ends, max(each.connections, 1), each.first, each.last, CALICO)
        for ends, each in seen.items()
    )
    since = min((each.first for each in seen.values()), default=None)
    blind = (f"calico: {unreadable} lines are not flows",) if unreadable else ()
    return Traffic(flows, since, blind, frozenset(nodes))


def _take(line: str | bytes, names: PodNames, seen: dict[Ends, _Seen], nodes: set[str]) -> None:
    if len(line) > LONGEST_LINE:
        raise ValueError("too long")
    flow: Mapping[str, Any] = json.loads(line)
    for side in ("source", "dest"):
        if flow[f"{side}_type"] == _HOST and flow.get(f"{side}_ip"):
            nodes.add(str(ip_address(flow[f"{side}_ip"])))
    counted_by = "dst" if flow["dest_type"] == _POD else "src"
    if flow["action"] != "allow" or flow["reporter"] != counted_by:
        return
    protocol = str(flow["proto"]).upper()
    if protocol not in ("TCP", "UDP", "SCTP"):
        return
    port = port_number(flow["dest_port"])
    ends = _end(flow, "source", names), _end(flow, "dest", names), port, protocol
    if ends not in seen and len(seen) >= MOST_FLOWS:
        raise ValueError("too many")
    first, last = _time(flow["start_time"]), _time(flow["end_time"])
    known = seen.setdefault(ends, _Seen(0, first, last))
    known.first, known.last = min(known.first, first), max(known.last, last)
    known.connections += max(int(flow.get("num_flows_started") or 0), 0)


def _end(flow: Mapping[str, Any], side: str, names: PodNames) -> Endpoint:
    if flow[f"{side}_type"] != _POD:
        address = flow.get(f"{side}_ip")
        return Endpoint(None, str(ip_address(address)) if address else "")
    namespace = str(flow[f"{side}_namespace"])
    name, pattern = str(flow[f"{side}_name"]), str(flow[f"{side}_name_aggr"])
    if name not in ("-", ""):
        found = names.workload(namespace, name)
        return Endpoint(found or Object("Pod", Ref(namespace, name)))
    found = names.workload_of_prefix(namespace, pattern.removesuffix("*"))
    return Endpoint(found or Object("Pod", Ref(namespace, pattern)))


def _time(value: object) -> datetime:
    """Return a time, which is in seconds since 1970 or text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    return instant(value)
