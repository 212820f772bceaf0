"""One call repeated while something else happens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sandbox.demo.calls.outcomes import reached
from sandbox.node.workload import Outcome

PAUSE = 0.002  # leaves processor time for the operator


@dataclass(slots=True)
class Samples:
    """The outcomes of the calls, in order."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """How many the packet filter rejected."""
        return sum(each.reason == "rejected" for each in self.outcomes)

    @property
    def lost(self) -> int:
        """How many got no answer."""
        return len(self.outcomes) - self.rejected - len(self.passed)

    @property
    def passed(self) -> list[Outcome]:
        """The outcomes of calls whose packets reached the callee."""
        return [each for each in self.outcomes if reached(each)]

    @property
    def milliseconds(self) -> float:
        """How long packets passed, from the first such call to the end of the last."""
        passed = self.passed
        if not passed:
            return 0.0
        return (passed[-1].started + passed[-1].took - passed[0].started) * 1000


@contextmanager
def sampled(call: Callable[[], Outcome]) -> Iterator[Samples]:
    """Repeat a call while the context lasts, from before its body to after it."""
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
