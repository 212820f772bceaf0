"""Probes for the time at which a change takes effect, on packets and on the pod's disk."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.fleet.pairs import names
from sandbox import SandboxError
from sandbox.node.workload import Layer, Mode, Target, Workload

PAUSE_SECONDS = 0.001  # without a pause, the probes would take CPU time from the measured processes
PATIENCE_SECONDS = 60.0
PROBE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Sight:
    """Probes of one edge from its two pods: `address` is the callee's, IP:PORT."""

    caller: Workload
    callee: Workload
    address: str
    number: int
    """Number of the caller among the identities."""

    def passes(self) -> bool | None:
        """Return whether a new connection is accepted or rejected; None if neither is certain."""
        target = Target(self.address, mode=Mode.CONNECT)
        (outcome,) = self.caller.call([target], timeout=PROBE_SECONDS)
        if outcome.layer is Layer.ANSWERED:
            return True
        return False if outcome.reason == "rejected" else None

    def names_the_caller(self) -> bool | None:
        """Return whether the callee's identity.json names the caller; None while it is replaced."""
        try:
            document = (self.callee.root / "identity" / "identity.json").read_text()
        except FileNotFoundError:
            return None
        return names(document, self.number)


def becomes(look: Callable[[], bool | None], *, wanted: bool) -> float:
    """Probe until the result is `wanted`; return the time, by `perf_counter`.

    Raises `SandboxError` after a timeout.
    """
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while look() is not wanted:
        if time.perf_counter() > deadline:
            raise SandboxError(f"a change had no effect in {PATIENCE_SECONDS:.0f} s")
        time.sleep(PAUSE_SECONDS)
    return time.perf_counter()
