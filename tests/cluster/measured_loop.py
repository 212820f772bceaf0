"""An event loop that measures how long it is kept from everything else."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class MeasuredLoop(asyncio.SelectorEventLoop):
    """Measures the longest stall: what one turn of the loop costs between two looks at its sockets.

    In CPU time of the loop's own thread, so that a busy machine makes no stall of a short turn. It
    would not see a thread that holds the interpreter's lock, which wall time would.
    """

    longest_stall = 0.0
    """Seconds."""

    def _run_once(self) -> None:
        began = time.thread_time()
        super()._run_once()  # type: ignore[misc] # of asyncio's own, and private
        self.longest_stall = max(self.longest_stall, time.thread_time() - began)


def measured(scene: Callable[[MeasuredLoop], Awaitable[T]]) -> T:
    """Run a scene in a loop of this kind. Collections of garbage leave out what is there before."""

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
