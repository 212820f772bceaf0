"""Members of statuses that the auditor and the prover write. The operator never writes them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from troth.resources.schema.lists import ATOMIC, keyed_by
from troth.resources.schema.model import Observed
from troth.resources.schema.scalars import Time

REPORTED = ("findings", "traffic", "proofs", "deadLetters")
"""Names of these members. They are not part of a status as planning reads and writes it."""

MOST_FINDINGS, MOST_PEERS, MOST_PROOFS = 32, 64, 128


class Severity(StrEnum):
    """Severity of a finding, in the words of openreports.io, the worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Position in the order, 0 for the worst."""
        return tuple(Severity).index(self)


class FindingStatus(Observed):
    """Finding about the resource."""

    id: Annotated[str, StringConstraints(max_length=32)]
    """ID of the finding, for `troth audit --fix`."""
    rule: Annotated[str, StringConstraints(max_length=16)]
    """ID of the rule."""
    severity: Severity
    """Severity of the finding."""
    message: Annotated[str, StringConstraints(max_length=1024)]
    """What is wrong and what to do."""
    since: Time
    """Time at which the auditor first reported it."""


Findings = Annotated[
    tuple[FindingStatus, ...],
    Field(max_length=MOST_FINDINGS, exclude=True, json_schema_extra=keyed_by("id")),
]


class TrafficVerdict(StrEnum):
    """What enforcement does, or would do, with a connection."""

    ALLOWED = "Allowed"
    WOULD_BE_DENIED = "WouldBeDenied"


class TrafficDirection(StrEnum):
    """Direction of a connection, as seen from the identity."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class PeerTraffic(Observed):
    """Connections that were seen with one peer."""

    peer: Annotated[str, StringConstraints(max_length=320)]
    """Peer: a ServiceIdentity as namespace/name, else a workload as Kind namespace/name, else an
    IP address."""
    direction: TrafficDirection
    """Direction of the connections. Inbound: the peer connects."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """Port at which they ended."""
    protocol: Annotated[str, StringConstraints(max_length=8)] = "TCP"
    """Transport protocol."""
    verdict: TrafficVerdict
    """Whether the NetworkPolicy of the identity allows them, or would deny them with enforcement:
    Enforce."""
    connections: Annotated[int, Field(ge=0)]
    """Number of connections that were seen."""
    first_seen: Time
    """Time at which the first one was seen."""
    last_seen: Time
    """Time at which the last one was seen."""


Traffic = Annotated[
    tuple[PeerTraffic, ...], Field(max_length=MOST_PEERS, exclude=True, json_schema_extra=ATOMIC)
]


class Expectation(StrEnum):
    """What a probe is expected to do."""

    PASSES = "Passes"
    FAILS = "Fails"


class ProofResult(StrEnum):
    """Result of a probe."""

    PROVEN = "Proven"
    DISPROVEN = "Disproven"
    INCONCLUSIVE = "Inconclusive"


class Layer(StrEnum):
    """Layer that let a probe through or stopped it."""

    NETWORK = "Network"
    TRANSPORT = "Transport"
    TOKEN = "Token"  # noqa: S105 - no password
    APPLICATION = "Application"


class Proof(Observed):
    """Result of probing one edge, or one pair without an edge."""

    peer: Annotated[str, StringConstraints(max_length=320)]
    """ServiceIdentity that the probe acted as, as namespace/name."""
    port: Annotated[str, StringConstraints(max_length=64)]
    """Name of the port that was probed."""
    probe: Annotated[str, StringConstraints(max_length=64)]
    """CamelCase name of the probe, such as DeclaredEdge or ForgedHeaders."""
    expectation: Expectation
    """What was expected."""
    result: ProofResult
    """Whether it was so."""
    layer: Layer | None = None
    """Layer that let the probe through or stopped it."""
    proven_at: Time
    """Time of the probe."""
    evidence: Annotated[str, StringConstraints(max_length=512)] = ""
    """What the probe saw."""


Proofs = Annotated[
    tuple[Proof, ...], Field(max_length=MOST_PROOFS, exclude=True, json_schema_extra=ATOMIC)
]
