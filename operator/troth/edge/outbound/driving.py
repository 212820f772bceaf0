"""Drivers that run flows: with threads, and with asyncio tasks."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Generic, cast

from troth.edge.outbound.calls import Calls
from troth.edge.outbound.connections import C, Generation
from troth.edge.outbound.exchange import Answer, ExchangeFailedError
from troth.edge.outbound.failures import TokenUnavailableError
from troth.edge.outbound.flows import Flow, Flows, Land, Post, Ready, Spawn, T
from troth.edge.outbound.tokens import Flight
from troth.edge.outbound.transactions import Transaction

CONNECT_SECONDS = 2.0
"""Seconds to connect to an issuer."""
ANSWER_SECONDS = 5.0
"""Seconds for the issuer's answer: in asyncio for the whole answer, elsewhere for each part."""
PATIENCE = 10.0
"""Seconds for which a request waits for a token that another request is fetching."""


class Blocking(Generic[C]):
    """Runs a client's flows in the calling thread, and each renewal in its own thread."""

    def __init__(
        self,
        calls: Calls[C],
        post: Callable[[Post], Answer],
        close: Callable[[C], None],
    ) -> None:
        """Create a driver. `post` sends to the issuer, and may raise `ExchangeFailedError`."""
        self._generations = calls.generations
        self._flows = Flows(calls)
        self._post = post
        self._close = close

    def begin(self, callee: str) -> Ready[C]:
        """Prepare a call. Call `end` when its response has ended."""
        generation = self._take()
        try:
            ready = self._run(self._flows.ready(callee, generation))
        except BaseException:
            self._give_back(generation)
            raise
        if ready.call.generation is not generation:
            self._give_back(generation)
        return ready

    def again(self, ready: Ready[C], challenges: Iterable[str]) -> Ready[C] | None:
        """Return the call with a fresh token, if its 401 requires one. Call `end` only once."""
        return self._run(self._flows.again(ready, challenges))

    def connection(self, ready: Ready[C]) -> C:
        """Return the sender of the call."""
        return self._generations.connection(ready.call.generation, ready.call.expected)

    def end(self, ready: Ready[C]) -> None:
        """End a call after its response, or without one."""
        self._give_back(ready.call.generation)

    def start_transaction(
        self,
        *,
        subject: str,
        scopes: Iterable[str],
        tenant: str | None = None,
        context: Mapping[str, str] | None = None,
        request: Mapping[str, str] | None = None,
    ) -> Transaction:
        """Start a transaction on behalf of a subject that this workload has authenticated.

        `context` (names that `startsTransactions` declares) stays the same at every hop. `request`
        describes the origin: `req_ip`, `authn`. Raises `TokenUnavailableError`.
        """
        with self._generation() as generation:
            return self._run(
                self._flows.start_transaction(
                    generation,
                    subject=subject,
                    scopes=scopes,
                    tenant=tenant,
                    context=context,
                    request=request,
                )
            )

    def narrow_transaction(
        self, *, scopes: Iterable[str], transaction: Transaction | str | None = None
    ) -> Transaction:
        """Replace the given transaction, or the current one, by one with fewer scopes.

        Raises `TokenUnavailableError`, and `LookupError` if there is no transaction.
        """
        with self._generation() as generation:
            return self._run(self._flows.narrow_transaction(generation, scopes, transaction))

    def close(self) -> None:
        """Close all connections."""
        for connection in self._generations.close():
            self._close(connection)

    @contextmanager
    def _generation(self) -> Iterator[Generation[C]]:
        generation = self._take()
        try:
            yield generation
        finally:
            self._give_back(generation)

    def _take(self) -> Generation[C]:
        generation, done = self._generations.take()
        for connection in done:
            self._close(connection)
        return generation

    def _give_back(self, generation: Generation[C]) -> None:
        for connection in self._generations.give_back(generation):
            self._close(connection)

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._carry_out(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as stop:
            return cast("T", stop.value)

    def _carry_out(self, step: Post | Land | Spawn) -> Answer | str | None:
        match step:
            case Post():
                return self._post(step)
            case Land(flight):
                try:
                    return flight.landing.result(PATIENCE)
                except TimeoutError:
                    raise _too_long(flight) from None
            case Spawn(flow, beside=True):
                threading.Thread(target=self._run, args=(flow,), daemon=True).start()
            case Spawn(flow):
                self._run(flow)
        return None


class Async(Generic[C]):
    """Runs a client's flows in asyncio's event loop."""

    def __init__(
        self,
        calls: Calls[C],
        post: Callable[[Post], Awaitable[Answer]],
        close: Callable[[C], Awaitable[None]],
    ) -> None:
        """As in `Blocking`."""
        self._generations = calls.generations
        self._flows = Flows(calls)
        self._post = post
        self._close = close
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    async def begin(self, callee: str) -> Ready[C]:
        """As in `Blocking`."""
        generation = await self._take()
        try:
            ready = await self._run(self._flows.ready(callee, generation))
        except BaseException:
            await self._give_back(generation)
            raise
        if ready.call.generation is not generation:
            await self._give_back(generation)
        return ready

    async def again(self, ready: Ready[C], challenges: Iterable[str]) -> Ready[C] | None:
        """As in `Blocking`."""
        return await self._run(self._flows.again(ready, challenges))

    def connection(self, ready: Ready[C]) -> C:
        """As in `Blocking`."""
        return self._generations.connection(ready.call.generation, ready.call.expected)

    async def end(self, ready: Ready[C]) -> None:
        """As in `Blocking`."""
        await self._give_back(ready.call.generation)

    async def start_transaction(
        self,
        *,
        subject: str,
        scopes: Iterable[str],
        tenant: str | None = None,
        context: Mapping[str, str] | None = None,
        request: Mapping[str, str] | None = None,
    ) -> Transaction:
        """As in `Blocking`."""
        async with self._generation() as generation:
            return await self._run(
                self._flows.start_transaction(
                    generation,
                    subject=subject,
                    scopes=scopes,
                    tenant=tenant,
                    context=context,
                    request=request,
                )
            )

    async def narrow_transaction(
        self, *, scopes: Iterable[str], transaction: Transaction | str | None = None
    ) -> Transaction:
        """As in `Blocking`."""
        async with self._generation() as generation:
            return await self._run(self._flows.narrow_transaction(generation, scopes, transaction))

    async def close(self) -> None:
        """Close all connections after the pending fetches, which take a few seconds at most.

        The fetches are not cancelled, because httpcore leaves a socket open if it is cancelled
        during its handshake.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ANSWER_SECONDS)
        for connection in self._generations.close():
            await self._close(connection)

    @asynccontextmanager
    async def _generation(self) -> AsyncIterator[Generation[C]]:
        generation = await self._take()
        try:
            yield generation
        finally:
            await self._give_back(generation)

    async def _take(self) -> Generation[C]:
        generation, done = self._generations.take()
        for connection in done:
            await self._close(connection)
        return generation

    async def _give_back(self, generation: Generation[C]) -> None:
        for connection in self._generations.give_back(generation):
            await self._close(connection)

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._carry_out(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as stop:
            return cast("T", stop.value)

    async def _carry_out(self, step: Post | Land | Spawn) -> Answer | str | None:
        match step:
            case Post():
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        return await self._post(step)
                except TimeoutError:
                    raise ExchangeFailedError("unreachable", "no answer in time") from None
            case Land(flight):
                try:
                    async with asyncio.timeout(PATIENCE):
                        return await asyncio.wrap_future(flight.landing)
                except TimeoutError:
                    raise _too_long(flight) from None
            case Spawn(flow):
                # A separate task: its starter may be cancelled while others wait for the token.
                task = asyncio.create_task(self._run(flow))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return None


def _too_long(flight: Flight) -> TokenUnavailableError:
    failure = ExchangeFailedError("unreachable", "no answer in time")
    wanted = flight.wanted
    return TokenUnavailableError(wanted.issuer, wanted.audience, datetime.now(UTC), failure)
