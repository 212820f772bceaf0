"""An event loop that measures its stalls."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class MeasuredLoop(asyncio.SelectorEventLoop):
    """Measures the longest stall: the cost of one turn of the loop between two polls of sockets.

    The unit is CPU time of the loop's own thread, so that a busy machine does not turn a short turn
    into a stall. It does not detect a thread that holds the interpreter's lock; wall time would.
    """

    longest_stall = 0.0
    """Longest stall in seconds."""

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()  # type: ignore[misc] # of asyncio's own, and private
        self.longest_stall = max(self.longest_stall, time.thread_time() - began)


def measured(scene: Callable[[MeasuredLoop], Awaitable[T]]) -> T:
    """Run a scene in a measured loop. Garbage collection ignores the objects that exist before."""

    async def run() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MeasuredLoop)
        return await scene(loop)

    gc.collect()
    gc.freeze()
    threshold = gc.get_threshold()
    try:
        with asyncio.Runner(loop_factory=MeasuredLoop) as runner:
            return runner.run(run())
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()
