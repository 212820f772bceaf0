"""One call made again and again beside something that happens meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sandbox.node.workload import Layer, Outcome

PAUSE = 0.002  # whoever is to repair needs the processors too


@dataclass(slots=True)
class Samples:
    """What became of the calls, in the order in which they were made."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many the packet filter refused."""
        return sum(each.reason == "rejected" for each in self.outcomes)

    @property
    def lost(self) -> int:
        """How many nobody answered at all."""
        return len(self.outcomes) - self.rejected - len(self.passed)

    @property
    def passed(self) -> list[Outcome]:
        """Those whose packets reached the callee."""
        return [
            each
            for each in self.outcomes
            if each.layer is not Layer.NETWORK or each.reason == "closed"
        ]

    @property
    def milliseconds(self) -> float:
        """How long packets passed, from the first such call to the end of the last."""
        passed = self.passed
        if not passed:
            return 0.0
        return (passed[-1].started + passed[-1].took - passed[0].started) * 1000


@contextmanager
def sampled(call: Callable[[], Outcome]) -> Iterator[Samples]:
    """Call all the time while the context lasts, from before its body to after it."""
    samples = Samples([call()])
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            samples.outcomes.append(call())
            time.sleep(PAUSE)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()
