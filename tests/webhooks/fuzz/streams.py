"""Fuzz targets of connections: byte streams from senders and from the replay store."""

import asyncio
import gc
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import h11

from tests.webhooks.fuzz.inputs import in_a_sentence
from tests.webhooks.gateway.attacks.scene import delivery, delivery_in_chunks
from troth.edge.inbound.asgi import Receive, Scope, Send
from troth.replay.store import Repeated, StoreUnavailableError
from troth.replay.valkey import Valkey
from troth.serving.connection import Connection
from troth.webhooks.gateway.serving import Server

Request = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]
"""Method, target, headers, body."""


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run it in a loop of its own, in which nothing may fail unseen."""
    faults: list[Any] = []
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        runner.run(work)
        gc.collect(0)  # a task that has failed says so when it is forgotten
    assert faults == []


# A sender's


class Nowhere(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.over = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop it."""

    def close(self) -> None:
        self.over = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.over

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        """Be asked for less."""

    resume_reading = pause_reading


def connection(data: bytes) -> None:
    """What is taken for a request is one to another parser too, in every part: h11, whose rules
    are not llhttp's. The first byte is how long the segments are in which the others come.
    """
    length, said = data[0] if data else 0, data[1:]
    taken: list[Request] = []
    _run(_hear(said, length or len(said) or 1, taken))
    while said.startswith(b"\r\n"):  # which are nothing, and h11 takes none
        said = said[2:]
    assert taken == _by_h11(said)[: len(taken)]


async def _hear(said: bytes, length: int, taken: list[Request]) -> None:
    async def take(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [*map(_spelled, scope["headers"])]
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        target = _target(scope["raw_path"], scope["query_string"])
        taken.append((scope["method"].encode(), target, headers, body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    server = Server(take, "127.0.0.1", 0)
    server.config.load()
    made, transport = server._protocol(), Nowhere()
    assert isinstance(made, Connection)
    made.connection_made(transport)
    for start in range(0, len(said), length):
        made.data_received(said[start : start + length])
        for _ in range(4):
            await asyncio.sleep(0)
        if transport.over:
            break
    made.connection_lost(None)
    for _ in range(4):
        await asyncio.sleep(0)


def _spelled(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """As h11 spells it: without the white space that llhttp leaves behind a value (RFC 9110
    section 5.5), and a coding in small letters, which are the same (RFC 9112 section 7).
    """
    name, value = field
    value = value.rstrip(b" \t")
    return name, value.lower() if name == b"transfer-encoding" else value


def _target(path: bytes, query: bytes) -> bytes:
    """As ASGI tells of it, where a query that is empty is none."""
    return path + b"?" + query if query else path


def _by_h11(said: bytes) -> list[Request]:
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    if said:  # nothing would say that the connection has ended
        reader.receive_data(said)
    found: list[Request] = []
    head, body = h11.Request(method="GET", target="/", headers=[("host", "a")]), b""
    try:
        while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            match event:
                case h11.Request():
                    head, body = event, b""
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    path, _, query = head.target.partition(b"?")
                    found.append((head.method, _target(path, query), list(head.headers), body))
                    reader.send(h11.Response(status_code=204, headers=[]))
                    reader.send(h11.EndOfMessage())
                    reader.start_next_cycle()
    except h11.ProtocolError:
        pass
    return found


# The store's

_NOTHING = re.compile(rb"(_|[$*~%>|]-1)\r\n")
"""How RESP 2 and 3 say that nothing was there: a null, or what has a length of -1."""
_INFO = b"maxmemory_policy:noeviction\r\naof_enabled:1\r\n"


def replies(data: bytes) -> None:
    """Whatever a store answers to a claim: only what says that nothing was there lets through."""
    _run(_ask(data))


async def _ask(said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"SET\r\n$" not in (asked := await reader.read(65536)) and asked:
            if asked.startswith(b"*2\r\n$4\r\nINFO"):
                writer.write(asked.count(b"INFO") * (b"$%d\r\n%b\r\n" % (len(_INFO), _INFO)))
            else:
                writer.write(asked.count(b"*") * b"+OK\r\n")
        if asked:
            writer.write(said)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = Valkey(f"valkey://:p@127.0.0.1:{port}", lanes=1)
        try:
            found = await store.claim(bytes(32), 30.0)
        except StoreUnavailableError as error:
            in_a_sentence(error)
        else:
            assert isinstance(found, Repeated) or _NOTHING.match(said)
        await store.close()


TARGETS: Mapping[str, Callable[[bytes], None]] = {"connection": connection, "replies": replies}


def seeds(target: str) -> list[bytes]:
    """Good inputs of a target, to begin with."""
    if target == "connection":
        both = delivery() + delivery(message="msg_2")
        return [b"\0" + delivery(), b"\x40" + delivery_in_chunks(), b"\xff" + both]
    return [b"$-1\r\n", b"$4\r\ndone\r\n", b"$3\r\nabc\r\n", b"-OOM no memory\r\n", b"*1\r\n:1\r\n"]
