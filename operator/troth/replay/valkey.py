"""Replay store for several replicas, in Valkey or in Redis from 7.0 on.

A claim is `SET key token NX GET PX lease`; the claim belongs to the stored token. All commands that
a replica sends in one iteration of its event loop form one batch, so under load a claim costs
little more than its share of a system call.

Every command can be repeated if its answer was lost: a claim that finds its own token holds, and a
mark can be made twice. So a broken connection, such as after a restart of the server, loses no
item.

Requirements on the server:
- It evicts nothing (`maxmemory-policy noeviction`), because an evicted item would be accepted
again. This is checked with each connection and by `look`, and a server that may evict is not used.
- It keeps confirmed writes after a crash: `appendonly yes` and `appendfsync always`. With
`everysec` the last two seconds can be lost, without a file everything, and items that are still
fresh can be repeated. A server without a file causes a warning. A failover to a replica loses the
writes that this replica did not have.
"""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Self

from valkey.asyncio import ConnectionPool
from valkey.asyncio.connection import AbstractConnection, SSLConnection
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import (
    ConnectionError as LostError,
)
from valkey.exceptions import (
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    ValkeyError,
)

from troth.replay.store import Claimed, Repeated, StoreUnavailableError

PREFIX = "troth:webhook:"
"""Prefix of the gateways' keys. Consumers of events have another one."""
PATIENCE = 1.0
"""Maximum time in seconds to answer a batch, and to open a connection."""
LANES = 2
"""Number of connections, and so of batches on their way at the same time. While all are in use,
commands wait for the next batch."""
MOST_AT_ONCE = 512
_TOKEN_BYTES = 16
_DONE = b"done"
"""Beginning of a mark; the rest is its value. No token begins so, because its first byte is 0."""

log = logging.getLogger(__name__)


class _UnfitError(ValkeyError):
    """The server must not be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Script:
    source: bytes
    sha: bytes

    @classmethod
    def of(cls, source: str) -> Self:
        text = source.encode()
        return cls(text, sha1(text, usedforsecurity=False).hexdigest().encode())


_MARK = _Script.of("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done' .. ARGV[3], 'PX', ARGV[2])
return 1
""")
_RELEASE = _Script.of("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")


@dataclass(frozen=True, slots=True, eq=False)
class _Command:
    """Command, or script with its arguments, and the future of its answer."""

    arguments: tuple[bytes, ...] = field(repr=False)
    script: _Script | None
    answer: asyncio.Future[Any]

    @property
    def command(self) -> tuple[bytes, ...]:
        if self.script is None:
            return self.arguments
        return b"EVALSHA", self.script.sha, b"1", *self.arguments

    @property
    def in_full(self) -> tuple[bytes, ...]:
        """The command for a server that does not have the script."""
        assert self.script is not None
        return b"EVAL", self.script.source, b"1", *self.arguments


class Valkey:
    """Replay store in a server. It belongs to the event loop that uses it first.

    The URL may have a password, and is in no `repr` and no error.
    """

    def __init__(
        self, url: str, *, prefix: str = PREFIX, patience: float = PATIENCE, lanes: int = LANES
    ) -> None:
        """`url` is `valkey://`, or with TLS `valkeys://`; `redis://` and `rediss://` mean the same.

        With TLS the server's certificate must be for the URL's host. Raises `ValueError` for any
        other URL, and for one that turns off the verification of certificates.
        """
        self._prefix = prefix.encode()
        self._patience = patience
        self._lanes = lanes
        self._all = self._connections(url)
        self._idle = list(self._all)
        self._successors: dict[AbstractConnection, AbstractConnection] = {}
        """Replacements for connections that are in use."""
        self._unfit = ""
        """Reason why the server is not used."""
        self._waiting: list[_Command] = []
        self._flights: set[asyncio.Task[None]] = set()
        self._due = False
        self._warned = False

    def __repr__(self) -> str:
        return "Valkey(…)"

    async def reconnect(self, url: str) -> None:
        """Change to another URL, such as one with the next password.

        Connections are replaced once new ones are open, those in use when their batch ends, so
        nothing waits and no command is lost. Raises `ValueError` for an invalid URL, and
        `StoreUnavailableError` if the server is unreachable or rejects the credentials. Then
        nothing changes.
        """
        fresh = self._connections(url)
        async with AsyncExitStack() as failing:
            for each in fresh:
                failing.push_async_callback(_drop, each)
                try:
                    await each.connect()
                except (ValkeyError, OSError) as error:
                    raise StoreUnavailableError(_sentence(error)) from None
            failing.pop_all()
        self._successors |= zip(self._all, fresh, strict=True)
        self._all = fresh
        before = self._idle
        self._idle = [self._successors.pop(each) for each in before]
        for each in before:
            await _drop(each)

    async def look(self) -> None:
        """Check whether the server evicts nothing, and use it or not accordingly."""
        with suppress(StoreUnavailableError):  # a claim gets the same error
            unfit = _fault(await self._ask(b"INFO", b"memory"))
            if unfit and not self._unfit:
                log.warning("replay store not used: %s", unfit)
            self._unfit = unfit

    @property
    def unfit(self) -> bool:
        """Whether the server was found to be unfit for use."""
        return bool(self._unfit)

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        """Claim an item; raises `StoreUnavailableError`."""
        if self._unfit:
            raise StoreUnavailableError(self._unfit)
        claim = Claimed(key, b"\0" + secrets.token_bytes(_TOKEN_BYTES - 1))
        held = await self._ask(
            b"SET", self._name(key), claim.token, b"NX", b"GET", b"PX", _milliseconds(lease)
        )
        if held is None or held == claim.token:
            return claim
        return Repeated.DONE if _is_mark(held) else Repeated.IN_FLIGHT

    async def done(self, claim: Claimed, window: float, value: bytes = b"") -> None:
        """Mark an item as accepted; raises `StoreUnavailableError`."""
        name, lapse = self._name(claim.key), _milliseconds(window)
        await self._ask(name, claim.token, lapse, value, script=_MARK)

    async def value(self, key: bytes) -> bytes | None:
        """Return the value of an item's mark; raises `StoreUnavailableError`."""
        held = await self._ask(b"GET", self._name(key))
        return held.removeprefix(_DONE) if _is_mark(held) else None

    async def release(self, claim: Claimed) -> None:
        """Release a claim; raises `StoreUnavailableError`."""
        await self._ask(self._name(claim.key), claim.token, script=_RELEASE)

    async def close(self) -> None:
        """Wait for batches on their way, and close all connections."""
        if self._flights:
            await asyncio.wait(self._flights, timeout=3 * self._patience)
        for each in self._all:
            with suppress(ValkeyError, OSError):
                await each.disconnect()

    def _name(self, key: bytes) -> bytes:
        return self._prefix + key

    def _connections(self, url: str) -> tuple[AbstractConnection, ...]:
        """Return connections that are not open yet; raises `ValueError`."""
        try:
            pool = ConnectionPool.from_url(
                url,
                socket_connect_timeout=self._patience,
                socket_timeout=None,  # see `_exchange`
                retry=Retry(NoBackoff(), 0),
                valkey_connect_func=self._greet,
            )
            if issubclass(pool.connection_class, SSLConnection):
                # The library checks only the chain of the certificate, not the host.
                pool.connection_kwargs["ssl_check_hostname"] = True
                SSLConnection(**pool.connection_kwargs).ssl_context.get()
        except Exception:  # noqa: BLE001 - any error may quote the password
            raise ValueError("the URL of the replay store is invalid") from None
        return tuple(pool.make_connection() for _ in range(self._lanes))

    # Batches

    async def _ask(self, *arguments: bytes, script: _Script | None = None) -> Any:  # noqa: ANN401
        loop = asyncio.get_running_loop()
        asked = _Command(arguments, script, loop.create_future())
        self._waiting.append(asked)
        if not self._due:
            self._due = True
            loop.call_soon(self._send)
        return await asked.answer

    def _send(self) -> None:
        """Send waiting commands on a free connection; called again when one becomes free."""
        self._due = False
        while self._waiting and self._idle:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            flight = asyncio.create_task(self._send_batch(self._idle.pop(), batch))
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    async def _send_batch(self, connection: AbstractConnection, batch: list[_Command]) -> None:
        try:
            async with asyncio.timeout(2 * self._patience):
                answers = await self._answers(connection, [each.command for each in batch])
                unknown = [at for at, each in enumerate(answers) if isinstance(each, NoScriptError)]
                if unknown:
                    again = [batch[at].in_full for at in unknown]
                    for at, answer in zip(
                        unknown, await self._answers(connection, again), strict=True
                    ):
                        answers[at] = answer
        except (ValkeyError, OSError, ValueError, RecursionError) as error:
            # TimeoutError is an OSError; the last two are raised for answers that are not RESP.
            await _drop(connection)
            _fail(batch, _sentence(error))
        except BaseException:
            await _drop(connection)
            _fail(batch, "the process is shutting down")
            raise
        else:
            await _resolve(connection, batch, answers)
        finally:
            successor = self._successors.pop(connection, connection)
            self._idle.append(successor)
            self._send()
            if successor is not connection:
                await _drop(connection)

    async def _answers(
        self, connection: AbstractConnection, commands: Sequence[tuple[bytes, ...]]
    ) -> list[Any]:
        """Return the answers, with an error in place of a failed command; raises other errors."""
        fresh = not connection.is_connected
        try:
            return await _exchange(connection, commands, self._patience)
        except LostError:
            if fresh:
                raise
        # The connection may have died long ago.
        await _drop(connection)
        return await _exchange(connection, commands, self._patience)

    async def _greet(self, connection: AbstractConnection) -> None:
        """Check a new connection's server before using it."""
        await connection.on_connect()
        memory, persistence = await _exchange(
            connection, [(b"INFO", b"memory"), (b"INFO", b"persistence")], self._patience
        )
        unfit = _fault(memory)
        if unfit:
            raise _UnfitError(unfit)
        if b"aof_enabled:1\r\n" not in _text(persistence) and not self._warned:
            self._warned = True
            log.warning("replay store not persistent: set appendonly to yes")


async def _exchange(
    connection: AbstractConnection, commands: Sequence[tuple[bytes, ...]], patience: float
) -> list[Any]:
    """Return the answers, with an error in place of a failed command.

    One time limit covers all of them, because a limit for each answer would cost more than reading
    it.
    """
    await connection.connect()
    async with asyncio.timeout(patience):
        await connection.send_packed_command(_packed(commands), check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as error:
                answers.append(error)
        return answers


def _is_mark(held: Any) -> bool:  # noqa: ANN401 - a broken server answers anything
    return isinstance(held, bytes) and held.startswith(_DONE)


def _packed(commands: Sequence[tuple[bytes, ...]]) -> bytes:
    """Return commands in RESP: arrays of strings, each after its length."""
    return b"".join(
        b"*%d\r\n%b"
        % (len(each), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in each]))
        for each in commands
    )


async def _resolve(
    connection: AbstractConnection, batch: list[_Command], answers: list[Any]
) -> None:
    """Set the answers of a batch."""
    for asked, answer in zip(batch, answers, strict=True):
        if isinstance(answer, ResponseError):
            _fail([asked], _sentence(answer))
        elif not asked.answer.done():
            asked.answer.set_result(answer)
    if any(isinstance(each, ReadOnlyError) for each in answers):
        # The server is no longer the primary; its name may lead to another one now.
        await _drop(connection)


def _fail(batch: list[_Command], why: str) -> None:
    for asked in batch:
        if not asked.answer.done():
            asked.answer.set_exception(StoreUnavailableError(why))


async def _drop(connection: AbstractConnection) -> None:
    with suppress(ValkeyError, OSError):
        await connection.disconnect(nowait=True)


def _sentence(error: Exception) -> str:
    if isinstance(error, _UnfitError):
        return str(error)
    if isinstance(error, ResponseError):
        return f"the replay store rejected the request ({type(error).__name__})"
    return f"the replay store cannot be reached ({type(error).__name__})"


def _fault(memory: object) -> str:
    """Return why a server must not be used, from its answer to INFO memory; empty if it may."""
    if b"maxmemory_policy:noeviction\r\n" in _text(memory):
        return ""
    return (
        "the replay store may evict marks, or does not show its policy; set "
        "maxmemory-policy to noeviction, and allow its user to run INFO"
    )


def _text(answer: object) -> bytes:
    return answer if isinstance(answer, bytes) else b""


def _milliseconds(seconds: float) -> bytes:
    return str(int(seconds * 1000)).encode()
