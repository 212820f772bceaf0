"""Traffic as a JSON document, so that it can be saved, reviewed and used elsewhere."""

import json
from ipaddress import ip_address
from typing import Any

from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.traffic.ports import port_number
from troth.audit.traffic.times import instant, stamp
from troth.resources.references import Ref

FORMAT = "troth.dev/traffic/v1"
LARGEST = 64 * 1024 * 1024
"""Largest document in bytes."""
MOST_FLOWS = 200_000
_LONGEST_TEXT = 512
_MOST_BLIND = 1000
_MOST_NODES = 20_000
_HIGHEST = 2**53
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_SOURCES = ("conntrack", "hubble", "calico")
_MEMBERS = frozenset({"format", "since", "blind", "nodes", "flows"})
_OF_FLOW = frozenset(
    {
        "source",
        "destination",
        "port",
        "protocol",
        "connections",
        "firstSeen",
        "lastSeen",
        "seenBy",
    }
)


class UnreadableTrafficError(ValueError):
    """A document that is not one of traffic; its text says where and why."""


def traffic_document(traffic: Traffic) -> dict[str, Any]:
    """Return traffic as a JSON document."""
    return {
        "format": FORMAT,
        "since": stamp(traffic.since) if traffic.since else None,
        "blind": list(traffic.blind),
        "nodes": sorted(traffic.nodes),
        "flows": [
            {
                "source": _end(each.source),
                "destination": _end(each.destination),
                "port": each.port,
                "protocol": each.protocol,
                "connections": each.connections,
                "firstSeen": stamp(each.first_seen),
                "lastSeen": stamp(each.last_seen),
                "seenBy": each.seen_by,
            }
            for each in traffic.flows
        ],
    }


def _end(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.workload is None:
        return {"address": endpoint.address}
    kind, ref = endpoint.workload
    return {"kind": kind, "namespace": ref.namespace, "name": ref.name}


def read_traffic(raw: bytes) -> Traffic:
    """Return the traffic of a document; raises `UnreadableTrafficError`."""
    if len(raw) > LARGEST:
        raise UnreadableTrafficError(f"larger than {LARGEST // 1024**2} MiB")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise UnreadableTrafficError("not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnreadableTrafficError(f'its format is not "{FORMAT}"')
    if unknown := document.keys() - _MEMBERS:
        raise UnreadableTrafficError(f"unknown member {min(unknown)!a}")
    flows, blind, nodes = (document.get(name, []) for name in ("flows", "blind", "nodes"))
    if not isinstance(flows, list) or len(flows) > MOST_FLOWS:
        raise UnreadableTrafficError(f"flows: write a list of at most {MOST_FLOWS} flows")
    if not isinstance(blind, list) or len(blind) > _MOST_BLIND:
        raise UnreadableTrafficError(f"blind: write a list of at most {_MOST_BLIND} texts")
    if not isinstance(nodes, list) or len(nodes) > _MOST_NODES:
        raise UnreadableTrafficError(f"nodes: write a list of at most {_MOST_NODES} addresses")
    since = document.get("since")
    try:
        return Traffic(
            tuple(_flow(each, number) for number, each in enumerate(flows)),
            None if since is None else instant(since),
            tuple(_text(each) for each in blind),
            frozenset(str(ip_address(_text(each))) for each in nodes),
        )
    except UnreadableTrafficError:
        raise
    except (ValueError, TypeError) as error:
        raise UnreadableTrafficError(f"since, blind or nodes: {error}") from None


def _flow(members: object, number: int) -> Flow:
    try:
        return _read_flow(members)
    except (ValueError, TypeError) as error:
        raise UnreadableTrafficError(f"flows[{number}]: {error}") from None


def _read_flow(members: object) -> Flow:
    if not isinstance(members, dict) or members.keys() != _OF_FLOW:
        raise ValueError(f"write the members {', '.join(sorted(_OF_FLOW))}")
    first, last = instant(members["firstSeen"]), instant(members["lastSeen"])
    if first > last:
        raise ValueError("firstSeen is after lastSeen")
    return Flow(
        _endpoint(members["source"]),
        _endpoint(members["destination"]),
        port_number(members["port"]),
        _one_of(members, "protocol", _PROTOCOLS),
        _count(members["connections"]),
        first,
        last,
        _one_of(members, "seenBy", _SOURCES),
    )


def _one_of(members: dict[str, Any], name: str, values: tuple[str, ...]) -> str:
    if members[name] not in values:
        raise ValueError(f"{name}: write one of {', '.join(values)}")
    return str(members[name])


def _endpoint(members: object) -> Endpoint:
    match members:
        case {"address": address, **more} if not more:
            return Endpoint(None, str(ip_address(_text(address))) if address else "")
        case {"kind": kind, "namespace": namespace, "name": name, **more} if not more:
            return Endpoint(Object(_text(kind), Ref(_text(namespace), _text(name))))
        case _:
            raise ValueError("an end is either {address} or {kind, namespace, name}")


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise ValueError(f"write a text of at most {_LONGEST_TEXT} characters")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _HIGHEST:
        raise ValueError(f"connections: write a number from 1 to {_HIGHEST}")
    return value
