"""Reads what `hubble observe -o json` prints: one flow a line.

Members: https://docs.cilium.io/en/stable/_api/v1/flow/README/. Only flows with the verdict
FORWARDED count. A packet that a caller's node forwards may still be dropped at the callee, so a
connection counts once its packets arrive or are answered.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.traffic.names import PodNames
from troth.audit.traffic.ports import port_number
from troth.audit.traffic.times import instant
from troth.resources.references import Ref

HUBBLE = "hubble"
LONGEST_LINE = 256 * 1024
MOST_FLOWS = 100_000
_OF_NODES = frozenset({"reserved:host", "reserved:remote-node"})

Ends = tuple[Endpoint, Endpoint, int, str]


@dataclass(slots=True)
class _Seen:
    first: datetime
    last: datetime
    arrived: bool = False
    started: dict[str, int] = field(default_factory=dict)
    """Number of connections that began, as each side counts them."""


def read_hubble(lines: Iterable[str | bytes], names: PodNames) -> Traffic:
    """Return the traffic that Hubble saw. Lines that cannot be read are counted in `blind`."""
    seen: dict[Ends, _Seen] = {}
    nodes: set[str] = set()
    unreadable = 0
    for line in lines:
        try:
            _take(line, names, seen, nodes)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            unreadable += 1 if line.strip() else 0
    flows = tuple(
        Flow(*ends, max((*each.started.values(), 1)), each.first, each.last, HUBBLE)
        for ends, each in seen.items()
        if each.arrived
    )
    since = min((each.first for each in seen.values()), default=None)
    blind = (f"hubble: {unreadable} lines are not flows",) if unreadable else ()
    return Traffic(flows, since, blind, frozenset(nodes))


def _take(line: str | bytes, names: PodNames, seen: dict[Ends, _Seen], nodes: set[str]) -> None:
    if len(line) > LONGEST_LINE:
        raise ValueError("too long")
    flow: Mapping[str, Any] = json.loads(line)["flow"]
    if flow["verdict"] != "FORWARDED":
        return
    for side, address in (("source", "source"), ("destination", "destination")):
        if _OF_NODES & {*(flow[side].get("labels") or ())}:
            nodes.add(str(ip_address(flow["IP"][address])))
    ((protocol, ports),) = flow["l4"].items()
    if protocol not in ("TCP", "UDP", "SCTP"):
        return
    answers = flow.get("is_reply") is True
    caller, callee = ("destination", "source") if answers else ("source", "destination")
    port = port_number(ports[f"{callee}_port"])
    ends = _end(flow, caller, names), _end(flow, callee, names), port, protocol
    if ends not in seen and len(seen) >= MOST_FLOWS:
        raise ValueError("too many")
    at = instant(_to_seconds(flow["time"]))
    known = seen.setdefault(ends, _Seen(at, at))
    known.first, known.last = min(known.first, at), max(known.last, at)
    flags = {name for name, is_set in (ports.get("flags") or {}).items() if is_set}
    direction = str(flow.get("traffic_direction"))
    known.arrived |= _arrived(flow, direction, protocol, flags, answers=answers)
    if not answers and (protocol != "TCP" or ("SYN" in flags and "ACK" not in flags)):
        known.started[direction] = known.started.get(direction, 0) + 1


def _arrived(
    flow: Mapping[str, Any], direction: str, protocol: str, flags: set[str], *, answers: bool
) -> bool:
    """Return whether a flow shows that packets got to the callee."""
    if "RST" in flags:
        return False
    if answers:
        return protocol != "TCP" or "ACK" in flags
    if direction == "INGRESS" or not flow["destination"].get("pod_name"):
        return True
    return protocol == "TCP" and "ACK" in flags


def _end(flow: Mapping[str, Any], side: str, names: PodNames) -> Endpoint:
    end = flow[side]
    namespace, pod = end.get("namespace"), end.get("pod_name")
    if not namespace or not pod:
        return Endpoint(None, str(ip_address(flow["IP"][side])))
    for each in end.get("workloads") or ():
        if each.get("kind") and each.get("name"):
            place = Object(str(each["kind"]), Ref(str(namespace), str(each["name"])))
            return Endpoint(names.scene.workload_of(place))
    workload = names.workload(str(namespace), str(pod))
    return Endpoint(workload or Object("Pod", Ref(str(namespace), str(pod))))


def _to_seconds(time: object) -> object:
    """Return a time without its nanoseconds, which `datetime` does not read."""
    if isinstance(time, str) and "." in time and time.endswith("Z"):
        return time.partition(".")[0] + "Z"
    return time
