"""Continuous calls between pods in the background."""

from collections.abc import Mapping, Sequence

from sandbox.node.node import Node
from sandbox.node.workload import Tally, Target

PATIENCE_SECONDS = 10.0
"""Timeout of one call in seconds: long, because a call on a busy machine has not failed."""


class Traffic:
    """Pods that continuously open new connections; `calls` are the targets of each pod, in turn.

    `rate` is the number of calls per pod and second.
    """

    def __init__(self, node: Node, calls: Mapping[str, Sequence[Target]], *, rate: float) -> None:
        self._node = node
        self._calls = calls
        self._rate = rate

    def begin(self) -> None:
        """Start the calls of every pod."""
        for pod, targets in self._calls.items():
            self._node.workload(pod).storm(targets, rate=self._rate, timeout=PATIENCE_SECONDS)

    def by_pod(self) -> dict[str, Tally]:
        """Return the tally of each pod so far."""
        return {pod: self._node.workload(pod).tally() for pod in self._calls}

    def tally(self) -> Tally:
        """Return the tally of all pods so far."""
        return sum(self.by_pod().values(), Tally())

    def end(self) -> Tally:
        """Stop the calls of every pod; return the tally of all."""
        return sum((self._node.workload(pod).calm() for pod in self._calls), Tally())
