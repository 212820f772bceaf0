"""An event loop whose clock jumps to the next timer if nothing else is ready."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Jumping(selectors.DefaultSelector):
    """Selector that advances the clock instead of waiting."""

    moment = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits and nothing will come")
        if not ready and timeout:
            self.moment += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.moment

    def run_in_executor(
        self,
        executor: object,  # noqa: ARG002 - unused, because the function runs at once
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> asyncio.Future[T]:
        """Run the function at once, because a thread takes real time."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller gets every error
            done.set_exception(error)
        return done


def runner() -> asyncio.Runner:
    """Return a runner of coroutines in virtual time. They must not use real sockets."""
    return asyncio.Runner(loop_factory=VirtualTimeLoop)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with runner() as running:
        return running.run(main)
