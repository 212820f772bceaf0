"""A client of NATS that keeps no connection open after its end. Needs nats-py.

The library closes a connection only after the TLS shutdown with the server. It keeps the
connection open if `connect` fails or is cancelled, or if `close` is cancelled while the server is
silent. If it misses that its reconnecting is cancelled, it connects again after `close`. After a
failed TLS handshake, its `close` never returns.
"""
# ruff: noqa: SLF001 - the library has no other way

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from nats.aio.client import Client, Srv
from nats.aio.transport import TcpTransport
from nats.errors import ConnectionClosedError, Error

_DENIED = re.compile(r'Permissions Violation for Publish to "([^"]+)"', re.IGNORECASE)


class NatsClient(Client):
    """The library's client. After a failed `connect`, and after `close`, no connection is open.

    This also holds if `connect` or `close` is cancelled. A second `close` does not wait for the
    first.
    """

    def __init__(self) -> None:
        """Create a client without connecting."""
        super().__init__()
        self._closings = 0
        self._ended = False
        self._denied: set[Callable[[str], None]] = set()

    @contextlib.contextmanager
    def denials(self, denied: Callable[[str], None]) -> Iterator[None]:
        """Call `denied` for each message that the server denies to publish.

        The server answers such a message with an error of the connection, in the order of messages.
        `denied` gets its subject in lower case, because the library lowers the text of errors.
        """
        self._denied.add(denied)
        try:
            yield
        finally:
            self._denied.discard(denied)

    async def _process_err(self, err_msg: str) -> None:
        if (found := _DENIED.search(err_msg)) is not None:
            for denied in tuple(self._denied):
                denied(found[1])
        await super()._process_err(err_msg)

    async def connect(self, *servers: Any, **options: Any) -> None:  # noqa: ANN401 - the library's
        """Connect as the library does; raises `ConnectionClosedError` after a `close` meanwhile."""
        self._ended = False
        try:
            await super().connect(*servers, **options)
        except _EndedError:
            raise ConnectionClosedError from None
        except BaseException:
            self._end()
            raise

    async def close_within(self, seconds: float) -> None:
        """Close the connection; abort it if the server does not take part within some seconds."""
        closing = asyncio.create_task(self.close())
        closing.add_done_callback(_retrieve)
        try:
            await asyncio.wait({closing}, timeout=seconds)
        finally:
            self._end()
        with contextlib.suppress(Error, OSError):
            await closing

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's
        self._ended = self._ended or status == Client.CLOSED
        self._closings += 1
        try:
            await super()._close(status, do_cbs)
        finally:
            self._closings -= 1
            if not self._closings:
                self._abort()

    async def _connect_to_server(self, s: Srv) -> None:
        # The library keeps no reference to a connection whose handshake failed.
        self._abort()
        if self._ended:
            raise _EndedError
        await super()._connect_to_server(s)

    async def _process_connect_init(self) -> None:
        try:
            await super()._process_connect_init()
        except Exception:
            self._abort()
            if not self._ended:
                raise
        except BaseException:
            self._abort()
            raise
        # asyncio.wait_for of Python 3.11 drops a cancellation if its result is ready.
        if self._ended:
            self._end()
            raise _EndedError

    def _end(self) -> None:
        self._ended = True
        self._status = Client.CLOSED
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        self._abort()

    def _abort(self) -> None:
        transport = self._transport
        if not isinstance(transport, TcpTransport) or transport._bare_io_writer is None:
            return
        bare: Any = transport._bare_io_writer
        writer: Any = transport._io_writer
        bare.transport.abort()
        # A TLS handshake takes the connection away from the protocol for which `wait_closed` waits.
        if bare.transport.get_protocol() is not bare._protocol:
            bare._protocol.connection_lost(None)
        # A handshake during which the connection is closed has no transport as its result.
        if writer is not None and writer.transport is None:
            writer._transport = bare.transport


class _EndedError(asyncio.CancelledError):
    """Ends the library's loops, which catch every other error and try again."""


def _retrieve(closing: asyncio.Task[None]) -> None:
    """Take the error of a task that nobody waits for any more."""
    if not closing.cancelled():
        closing.exception()
