"""Duplicates of events for programs with threads, such as consumers with confluent-kafka.

The memory in this process is used in the calling thread. A store with connections runs in an event
loop of its own, in one thread: each call costs two changes of threads, and calls of several threads
form one batch.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from troth.edge.events.consumption.duplicates import Claim, Duplicates, Identified, Seen
from troth.replay.memory import Memory
from troth.replay.store import StoreUnavailableError

T = TypeVar("T")


class _Runner(Protocol):
    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine, or raise its error."""

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run a last coroutine, and free what the runner uses."""


@dataclass(frozen=True, slots=True)
class BlockingClaim:
    """Claim of an event that is being handled; see `duplicates.Claim`."""

    _claim: Claim
    _runner: _Runner = field(repr=False)

    def done(self) -> None:
        """Mark the event as handled; raises `StoreUnavailableError`."""
        self._runner.run(self._claim.done())

    def release(self) -> None:
        """Give up the claim, because the event was not handled. Raises nothing."""
        with suppress(StoreUnavailableError):
            self._runner.run(self._claim.release())


class BlockingDuplicates:
    """Memory of the events that a consumer group has handled, for any number of threads."""

    def __init__(
        self,
        duplicates: Duplicates,
        *,
        follow: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Create the facade, which then owns `duplicates`.

        `follow` runs in the background until `close`, such as `StoreFile.follow`, which applies
        the next password of a Valkey.
        """
        self._duplicates = duplicates
        self._runner: _Runner = _Caller() if isinstance(duplicates.store, Memory) else _Loop(follow)

    def begin(self, event: Identified, position: str) -> BlockingClaim | Seen:
        """Claim an event; see `Duplicates.begin`. Raises `StoreUnavailableError`."""
        found = self._runner.run(self._duplicates.begin(event, position))
        return BlockingClaim(found, self._runner) if isinstance(found, Claim) else found

    def close(self) -> None:
        """Close the store and end the thread. Calls that wait raise `StoreUnavailableError`."""
        self._runner.close(self._duplicates.close())


class _Caller:
    """Runs coroutines that never wait, in the calling thread, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with self._lock:
            try:
                coroutine.send(None)
            except StopIteration as returned:
                result: T = returned.value
                return result
        raise AssertionError("the memory never waits")

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        self.run(last)


class _Loop:
    """Runs coroutines in the event loop of a thread."""

    def __init__(self, follow: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="troth-replay", daemon=True)
        self._thread.start()
        if follow is not None:
            asyncio.run_coroutine_threadsafe(follow(), self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with self._lock:  # a loop that was stopped runs nothing, and its caller would wait forever
            if self._closed:
                coroutine.close()
                raise _closed()
            asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return _result(asked)

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        with self._lock:
            if self._closed:
                last.close()
                return
            self._closed = True
            ended = asyncio.run_coroutine_threadsafe(_end(last), self._loop)
        try:
            ended.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


def _closed() -> StoreUnavailableError:
    return StoreUnavailableError("the memory of duplicates is closed")


def _result(asked: Future[T]) -> T:
    """Return the result of a coroutine in the loop, whose close cancels it."""
    try:
        return asked.result()
    except CancelledError:
        raise _closed() from None
    finally:
        asked.cancel()  # if this thread was interrupted; its claim ends with its lease


async def _end(last: Coroutine[Any, Any, None]) -> None:
    """Run a last coroutine, cancel all other tasks of this loop, and wait for their end."""
    try:
        await last
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
