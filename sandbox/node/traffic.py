"""Calls between pods that go on, beside whatever happens meanwhile."""

from collections.abc import Mapping, Sequence

from sandbox.node.node import Node
from sandbox.node.workload import Tally, Target

PATIENCE_SECONDS = 10.0
"""How long one call may take: a machine that is busy is no reason to call it failed."""


class Traffic:
    """Pods that open new connections all the time; `calls` are those of each, in turn.

    `rate` is how many each pod makes in a second.
    """

    def __init__(self, node: Node, calls: Mapping[str, Sequence[Target]], *, rate: float) -> None:
        self._node = node
        self._calls = calls
        self._rate = rate

    def begin(self) -> None:
        """Have every pod begin."""
        for pod, targets in self._calls.items():
            self._node.workload(pod).storm(targets, rate=self._rate, timeout=PATIENCE_SECONDS)

    def by_pod(self) -> dict[str, Tally]:
        """Return what became of the calls of each pod so far."""
        return {pod: self._node.workload(pod).tally() for pod in self._calls}

    def tally(self) -> Tally:
        """Return what became of all calls so far."""
        return sum(self.by_pod().values(), Tally())

    def end(self) -> Tally:
        """Have every pod end; return what became of all calls."""
        return sum((self._node.workload(pod).calm() for pod in self._calls), Tally())
