"""Senders of webhooks that sign ahead of time, and send as quickly as they are answered, or evenly.

One thread with kept connections: while it reads one answer all the others have a request under way,
so that it costs little and the server never waits for it.
"""

import base64
import hmac
import itertools
import json
import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

ENDPOINT = "bench/hooks"
PATH = f"/{ENDPOINT}"
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY_BYTES = 1024
LOOPBACK = "127.0.0.1"

_ANSWER = re.compile(rb"HTTP/1\.1 (200|204) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
_PIECE = 4096


def body_of(size: int = BODY_BYTES) -> bytes:
    """Return an event of a payment, as JSON of so many bytes."""
    event = {"id": "evt_1", "event_id": "evt_1", "type": "charge.settled", "note": ""}
    event["note"] = "x" * (size - len(json.dumps(event)))
    return json.dumps(event).encode()


@dataclass(slots=True)
class Post:
    """Requests of a sender of Standard Webhooks, each with another id; their bytes as sent."""

    body: bytes = field(default_factory=body_of)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def signed(self, count: int) -> list[bytes]:
        """Sign so many, of now."""
        now = int(time.time())
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: hooks.bench.example\r\nUser-Agent: bench\r\n"
            "Accept: */*\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self.body)}\r\nwebhook-timestamp: {now}\r\n"
        )
        return [self._request(head, f"msg_{next(self._numbers):024}", now) for _ in range(count)]

    def _request(self, head: str, name: str, now: int) -> bytes:
        mac = hmac.digest(KEY, f"{name}.{now}.".encode() + self.body, "sha256")
        signature = base64.b64encode(mac).decode()
        rest = f"webhook-id: {name}\r\nwebhook-signature: v1,{signature}\r\n\r\n"
        return f"{head}{rest}".encode() + self.body


@dataclass(frozen=True, slots=True)
class Senders:
    """Connections to one server."""

    connections: Sequence[socket.socket]

    def take(self, requests: Sequence[bytes]) -> float:
        """Send them all; return the seconds from the first request to the last answer.

        Raises `ConnectionError` for an answer that is not that all is well.
        """
        began = time.perf_counter()
        ahead = min(len(requests), len(self.connections))
        for connection, request in zip(self.connections, requests[:ahead], strict=False):
            connection.sendall(request)
        for number in range(len(requests)):
            connection = self.connections[number % len(self.connections)]
            _check(connection.recv(_PIECE))
            if number + ahead < len(requests):
                connection.sendall(requests[number + ahead])
        return time.perf_counter() - began

    def pace(self, requests: Sequence[bytes], rate: float) -> list[float]:
        """Send so many a second, evenly; return for each the seconds from when it was due.

        What is answered late delays no other, unless no connection is free, and then that counts.
        """
        poll = select.poll()
        idle = deque(self.connections)
        due: dict[int, float] = {}
        by_number = {each.fileno(): each for each in self.connections}
        for number in by_number:
            poll.register(number, select.POLLIN)
        times: list[float] = []
        began, sent = time.perf_counter(), 0
        while len(times) < len(requests):
            # It looks all the time: it has a core of its own, and a sleep would be noise.
            now = time.perf_counter()
            if sent < len(requests) and idle and now >= began + sent / rate:
                connection = idle.popleft()
                connection.sendall(requests[sent])
                due[connection.fileno()] = began + sent / rate
                sent += 1
            for number, _ in poll.poll(0):
                _check(by_number[number].recv(_PIECE))
                times.append(time.perf_counter() - due.pop(number))
                idle.append(by_number[number])
        return times


@contextmanager
def connected(port: int, connections: int) -> Iterator[Senders]:
    """Connect while the context lasts."""
    with ExitStack() as stack:
        opened = []
        for _ in range(connections):
            connection = socket.create_connection((LOOPBACK, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.append(stack.enter_context(connection))
        yield Senders(opened)


def _check(answer: bytes) -> None:
    """Answers here have no body, and come in one piece."""
    if not _ANSWER.fullmatch(answer):
        raise ConnectionError(f"the delivery was not taken: {answer[:500]!r}")
