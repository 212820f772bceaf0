"""A probe, and the plan of a round of probes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from troth.documents.probes import Instruction
from troth.resources.references import Ref
from troth.resources.reported import MOST_PROOFS, Expectation, Layer

PROBER = "troth-prover"
"""Peer in the proofs of the pod without an identity, in Troth's namespace."""


class ProbeName(StrEnum):
    """What a probe tries."""

    DECLARED_EDGE = "DeclaredEdge"
    """A caller calls as it may."""
    UNDECLARED_EDGE = "UndeclaredEdge"
    """A pod without a live edge connects."""
    FORGED_HEADERS = "ForgedHeaders"
    """A caller claims an identity in headers only."""
    OTHER_TOKEN = "OtherToken"  # noqa: S105 - no password
    """A caller sends a token for another audience or of another identity."""
    NO_CERTIFICATE = "NoCertificate"
    """A caller presents no certificate."""
    OTHER_CERTIFICATE = "OtherCertificate"
    """A caller's pod presents the certificate of an identity without a live edge."""


@dataclass(frozen=True, slots=True)
class Target:
    """A port of a callee."""

    callee: Ref
    port: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe. `instruction` has no address yet: the address is that of a pod of the callee."""

    name: ProbeName
    target: Target
    caller: Ref | None
    """Identity whose ServiceAccount, labels and Secret the probing pod has, None for none."""
    expectation: Expectation
    layer: Layer
    """Layer that should stop the probe, or the last one that should let it through."""
    instruction: Instruction = field(repr=False)
    obstacle: str = ""
    """Reason why it cannot be made, as a clause; empty if it can."""

    @property
    def identities(self) -> frozenset[str]:
        """Names of the identities whose Secrets the pod needs."""
        ask = self.instruction
        return frozenset({ask.roots, ask.certificate, ask.holder} - {""})

    @property
    def is_control(self) -> bool:
        """Whether its success shows that the target listens and accepts its callers."""
        return self.name is ProbeName.DECLARED_EDGE


@dataclass(frozen=True, slots=True)
class Caller:
    """What a pod needs to be taken for a pod of an identity, or for one without."""

    namespace: str
    account: str
    labels: dict[str, str]
    bundle: str
    """Name of the ConfigMap with the trust bundle."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The probes of a round. For each callee they are all or none, except those of `cut`."""

    callees: tuple[Ref, ...] = ()
    """Identities that are proven, also those for which there is no probe."""
    probes: tuple[Probe, ...] = ()
    callers: dict[Ref | None, Caller] = field(default_factory=dict)
    omitted: tuple[Ref, ...] = ()
    """Callees for which there was no room."""
    cut: dict[Ref, int] = field(default_factory=dict)
    """Numbers of probes of callees for which there was no room: most are of live edges."""

    def batches(self, most: int = MOST_PROOFS) -> Iterator["Plan"]:
        """Yield plans of successive callees, with at most so many probes if there are several."""
        by_callee: dict[Ref, list[Probe]] = {each: [] for each in self.callees}
        for each in self.probes:
            by_callee[each.target.callee].append(each)
        callees: list[Ref] = []
        probes: list[Probe] = []
        for callee, found in by_callee.items():
            if callees and len(probes) + len(found) > most:
                yield Plan(tuple(callees), tuple(probes), self.callers)
                callees, probes = [], []
            callees.append(callee)
            probes += found
        if callees:
            yield Plan(tuple(callees), tuple(probes), self.callers)

    def manifest(self) -> dict[str, Any]:
        """Return the plan as a document."""
        return {
            "omitted": [str(each) for each in self.omitted],
            "cut": {str(callee): number for callee, number in self.cut.items()},
            "probes": [
                {
                    "callee": str(each.target.callee),
                    "port": each.target.port,
                    "probe": each.name.value,
                    "caller": str(each.caller or PROBER),
                    "expectation": each.expectation.value,
                    "layer": each.layer.value,
                }
                for each in self.probes
            ],
        }
