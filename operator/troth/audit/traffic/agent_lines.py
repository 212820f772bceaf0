"""The lines that a node agent prints: one writer and one reader.

Each line is a JSON object. A `summary` line says which node the agent reads and how well. A `pair`
line says how often and when connections of a pair were seen. The agent prints a pair when it is
new, and all pairs after each summary. So a log that was cut off still says everything.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from troth.audit.facts.pods.workloads import Pod
from troth.audit.traffic.pairs import MOST_PAIRS, Pair, Pairs, Sighting
from troth.audit.traffic.ports import port_number
from troth.audit.traffic.times import instant, stamp

AGENT_LABELS = {
    "app.kubernetes.io/component": "node-agent",
    "app.kubernetes.io/name": "troth",
}
"""Labels of the agents' pods, which the chart starts for `audit.agent`."""
LOG_LINES, LOG_BYTES = 45_000, 32 * 1024 * 1024
"""Part of an agent's log to read. It has at least one list of all pairs."""
LONGEST_LINE = 16 * 1024
MOST_ADDRESSES = 256
"""Most addresses of a node in a summary."""
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_LONGEST_NAME = 253
_HIGHEST = 2**53


@dataclass(frozen=True, slots=True)
class Summary:
    """What an agent says about itself."""

    node: str
    """Name of the node."""
    addresses: tuple[str, ...]
    """Addresses of the node itself, and of Services where kube-proxy gives them to nodes; at most
    `MOST_ADDRESSES`."""
    since: datetime
    """Time since which the agent watches."""
    at: datetime
    """Time of the summary."""
    malformed: int = 0
    """Number of lines of the kernel's table that could not be read."""
    dropped: int = 0
    """Number of pairs that were dropped because there were too many."""
    problem: str = ""
    """Why the table cannot be read, empty if it can."""
    gap: int = 0
    """Longest time between two looks at the table, in seconds."""


@dataclass(frozen=True, slots=True)
class AgentLog:
    """What one agent saw."""

    summary: Summary | None
    """The last summary; None if there is none, and so no evidence that an agent wrote the log."""
    pairs: dict[Pair, Sighting] = field(default_factory=dict)
    malformed: int = 0
    """Number of lines that are not an agent's, or beyond the bound of pairs."""
    source: str = ""
    """Where the log comes from, for messages."""


def is_agent(pod: Pod, namespace: str) -> bool:
    """Return whether a pod is an agent: one of a DaemonSet in the agents' namespace.

    Labels alone prove nothing, because a tenant may set them on pods of its own and print forged
    lines.
    """
    return (
        pod.ref.namespace == namespace
        and pod.workload.kind == "DaemonSet"
        and AGENT_LABELS.items() <= pod.labels.items()
    )


def no_agent(namespace: str) -> str:
    """Return the sentence that says that there is no agent."""
    return (
        f"there is no node agent in namespace {namespace}; install the chart with "
        "audit.agent.enabled=true"
    )


def summary_line(summary: Summary) -> str:
    """Return a summary as a line without its end."""
    return _line(
        type="summary",
        node=summary.node,
        addresses=list(summary.addresses),
        since=stamp(summary.since),
        at=stamp(summary.at),
        malformed=summary.malformed,
        dropped=summary.dropped,
        problem=summary.problem,
        gap=summary.gap,
    )


def pair_line(pair: Pair, sighting: Sighting) -> str:
    """Return a pair as a line without its end."""
    return _line(
        type="pair",
        source=pair.source,
        destination=pair.destination,
        port=pair.port,
        protocol=pair.protocol,
        connections=sighting.connections,
        first=stamp(sighting.first_seen),
        last=stamp(sighting.last_seen),
    )


def all_lines(summary: Summary, pairs: Pairs) -> Iterator[str]:
    """Yield a summary and all pairs."""
    yield summary_line(summary)
    for pair, sighting in pairs.items():
        yield pair_line(pair, sighting)


def _line(**members: object) -> str:
    return json.dumps(members, separators=(",", ":"))


def read_agent_lines(lines: Iterable[str | bytes], source: str = "") -> AgentLog:
    """Return what an agent's lines say. Lines that are not an agent's are counted, never an error.

    A later line about a pair replaces an earlier one. `source` is where the lines come from.
    """
    summary: Summary | None = None
    pairs: dict[Pair, Sighting] = {}
    malformed = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            found = _read(line)
            if isinstance(found, Summary):
                summary = found
            elif found[0] in pairs or len(pairs) < MOST_PAIRS:
                pairs[found[0]] = found[1]
            else:
                malformed += 1
        except (ValueError, TypeError, KeyError, RecursionError):
            malformed += 1
    return AgentLog(summary, pairs, malformed, source)


def _read(line: str | bytes) -> Summary | tuple[Pair, Sighting]:
    if len(line) > LONGEST_LINE:
        raise ValueError("too long")
    members: dict[str, Any] = json.loads(line)
    match members["type"]:
        case "summary":
            return Summary(
                _text(members["node"]),
                tuple(map(_address, members["addresses"][:MOST_ADDRESSES])),
                instant(members["since"]),
                instant(members["at"]),
                _count(members["malformed"]),
                _count(members["dropped"]),
                _text(members["problem"]),
                _count(members.get("gap", 0)),
            )
        case "pair":
            protocol = members["protocol"]
            if protocol not in _PROTOCOLS:
                raise ValueError("not a protocol")
            pair = Pair(
                _address(members["source"]),
                _address(members["destination"]),
                port_number(members["port"]),
                protocol,
            )
            first, last = instant(members["first"]), instant(members["last"])
            if first > last or members["connections"] == 0:
                raise ValueError("never seen")
            return pair, Sighting(_count(members["connections"]), first, last)
        case _:
            raise ValueError("not a line of an agent")


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_NAME or not value.isprintable():
        raise ValueError("not a short text")
    return value


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not an address")
    return str(ip_address(value))


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _HIGHEST:
        raise ValueError("not a count")
    return value
