"""Answers on a connection: only that of the request counts, and nothing is read after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat

import pytest

from tests.webhooks.gateway.running import until
from troth.webhooks.gateway.forwarding.connection import (
    MOST_ANSWER,
    Connection,
    Head,
    NoAnswerError,
)

REQUEST = b"POST / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def connected(*answers: bytes, then_close: bool = False) -> AsyncIterator[Connection]:
    """A connection to a target that answers each request so, the last answer again and again."""

    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            for each in [*answers, *repeat(answers[-1], 9)]:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(each)
                await writer.drain()
                if then_close:
                    break
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        yield connection
        connection.abort()
        await ended.wait()
        await until(lambda: connection._parser is None)


def later(seconds: float = 30.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_connection_carries_one_request_after_another() -> None:
    async with connected(OK) as connection:
        for _ in range(3):
            head = await connection.exchange(REQUEST, later())
            assert head == Head(200, ((b"content-length", b"2"),))
            assert await connection.is_reusable()


@pytest.mark.parametrize("status", [100, 102, 103])
async def test_interim_answer_is_skipped(status: int) -> None:
    interim = f"HTTP/1.1 {status} Wait\r\nLink: </a>\r\n\r\n".encode()
    async with connected(interim + OK) as connection:
        head = await connection.exchange(REQUEST, later())
        assert head == Head(200, ((b"content-length", b"2"),))
        assert await connection.is_reusable()


@pytest.mark.parametrize(
    "answer",
    [
        OK + OK,
        OK + b"HTTP/1.1 500 No",
        OK + b"garbage",
        OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        OK.replace(b"1.1", b"1.0"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 2 * MOST_ANSWER,
    ],
    ids=["two", "half of another", "garbage", "close", "1.0", "cut", "bad chunk", "long"],
)
async def test_connection_with_anything_after_the_answer_is_not_reused(answer: bytes) -> None:
    async with connected(answer, then_close=b"9\r\n\r\n{}" in answer) as connection:
        assert (await connection.exchange(REQUEST, later())).status == 200
        assert not await connection.is_reusable()


async def test_answer_without_a_request_closes_the_connection() -> None:
    async with connected(OK) as connection:
        await connection.exchange(REQUEST, later())
        assert connection.is_open()
        connection.data_received(OK)
        assert not connection.is_open()


MALFORMED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "endless head": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2 * MOST_ANSWER,
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_answer_is_none(answer: bytes) -> None:
    async with connected(answer) as connection:
        with pytest.raises(NoAnswerError) as caught:
            await connection.exchange(REQUEST, later())
        assert caught.value.reason == "answer-lost"
        assert not await connection.is_reusable()


async def test_switch_of_protocols_ends_the_connection() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with connected(answer) as connection:
        assert (await connection.exchange(REQUEST, later())).status == 101
        assert not await connection.is_reusable()


async def test_late_answer_ends_the_connection() -> None:
    async with connected(b"HTTP/1.1 200 OK\r\n") as connection:
        with pytest.raises(NoAnswerError) as caught:
            await connection.exchange(REQUEST, later(0.1))
        assert caught.value.reason == "too-slow"
        assert not await connection.is_reusable()


async def test_cancelled_exchange_ends_the_connection() -> None:
    async with connected(b"HTTP/1.1 200 OK\r\n") as connection:
        exchange = asyncio.create_task(connection.exchange(REQUEST, later()))
        await asyncio.sleep(0)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        assert not await connection.is_reusable()


async def test_idle_connection_ends() -> None:
    async with connected(OK) as connection:
        await connection.exchange(REQUEST, later())
        connection.due = later(0.0)
        assert not connection.is_open()
        await until(lambda: connection._parser is None)
