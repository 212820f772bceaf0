"""The connections to one target that have the same TLS context."""

import asyncio
import ssl

from aiohappyeyeballs import start_connection

from troth.webhooks.gateway.forwarding.addresses import Addresses
from troth.webhooks.gateway.forwarding.connection import Connection

CONNECT_WITHIN = 3.0
"""Time in seconds to get a connection, including the wait for a free one."""
IDLE = 1.5
"""Time in seconds for which an idle connection is kept. Servers close idle connections too,
gunicorn after two seconds, and a delivery that is sent at that moment may or may not have been
read.
"""
MOST_TO_ONE = 64
"""Maximum number of a replica's connections to one target, so that a slow one does not affect
others."""
_NEXT_ADDRESS = 0.25
"""Time in seconds after which the next address of a host is tried too (RFC 8305, section 5)."""


class Pool:
    """Connections that are reused, the last one first. Use it in one event loop only."""

    def __init__(
        self,
        context: ssl.SSLContext,
        host: str,
        address: tuple[str, int],
        addresses: Addresses,
        most: int = MOST_TO_ONE,
    ) -> None:
        """`host` is the name that TLS verifies, and `address` the host and port to connect to.

        `addresses` looks up that host; all pools of a process share it.
        `most` is the maximum number of connections in use.
        """
        self._context = context
        self._host = host
        self._address = address
        self._addresses = addresses
        self._idle: list[Connection] = []
        self._turns = asyncio.Semaphore(most)
        self._is_closed = False

    async def take(self, due: float) -> Connection:
        """Return a connection. Call `give_back` when its answer has come, or there is none.

        The wait ends at `due` on the loop's clock, or earlier.

        Raises `OSError`, such as `ssl.SSLCertVerificationError` and `TimeoutError`, and
        `ValueError` for an invalid host. Then nothing was sent.
        """
        if not self._turns.locked():
            connection = self._reusable()
            if connection is not None:
                await self._turns.acquire()  # at once
                return connection
        soon = asyncio.get_running_loop().time() + CONNECT_WITHIN
        async with asyncio.timeout_at(min(soon, due)):
            await self._turns.acquire()
            try:
                return self._reusable() or await self._connect()
            except BaseException:
                self._turns.release()
                raise

    async def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request, unless it has to be closed."""
        try:
            if await connection.is_reusable() and not self._is_closed:
                connection.due = asyncio.get_running_loop().time() + IDLE
                self._idle.append(connection)
            else:
                connection.close()
        finally:
            self._turns.release()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        self._is_closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _reusable(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        infos = await self._addresses(*self._address)
        try:
            socket = await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS)
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, sock=socket, ssl=self._context, server_hostname=self._host
            )
        except BaseException:  # also the end of the wait, which is a cancellation here
            self._addresses.forget(*self._address)
            raise
        if not connection.is_open():  # the target has rejected this gateway's certificate
            raise ConnectionResetError
        return connection
