"""Traffic that was seen: who connected to whom, how often and since when."""

from dataclasses import dataclass
from datetime import datetime

from troth.audit.finding import Object


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a connection."""

    workload: Object | None
    """Workload of the pod, None outside the cluster or if no pod had the address then."""
    address: str = ""
    """IP address; empty if the workload is known."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Connections from one end to a port of another."""

    source: Endpoint
    destination: Endpoint
    port: int
    protocol: str
    """TCP, UDP or SCTP."""
    connections: int
    """Number of connections that were seen; at least 1."""
    first_seen: datetime
    last_seen: datetime
    seen_by: str
    """Source of the evidence: `conntrack`, `hubble` or `calico`."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """All traffic that was seen, and the time since which somebody watched."""

    flows: tuple[Flow, ...] = ()
    since: datetime | None = None
    """None if nobody watches."""
    blind: tuple[str, ...] = ()
    """Nodes and sources that could not be read, each with the reason."""
    nodes: frozenset[str] = frozenset()
    """Addresses of nodes themselves, as far as they are known."""
