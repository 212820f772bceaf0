"""A sender of webhooks that signs its deliveries ahead of time."""

import base64
import hmac
import itertools
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from benchmarks.harness.load import PIECE, Load
from benchmarks.harness.servers import LOOPBACK

ENDPOINT = "bench/hooks"
PATH = f"/{ENDPOINT}"
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY_BYTES = 1024

_ANSWER = re.compile(rb"HTTP/1\.1 (200|204) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")


def body_of(size: int = BODY_BYTES) -> bytes:
    """Return a payment event as JSON of that size."""
    event = {"id": "evt_1", "event_id": "evt_1", "type": "charge.settled", "note": ""}
    event["note"] = "x" * (size - len(json.dumps(event)))
    return json.dumps(event).encode()


@dataclass(slots=True)
class Post:
    """Deliveries by Standard Webhooks, each with its own ID, as bytes."""

    body: bytes = field(default_factory=body_of)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def signed(self, count: int) -> list[bytes]:
        """Return new deliveries, signed now."""
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


@contextmanager
def connected(port: int, connections: int) -> Iterator[Load]:
    """Connect while the context lasts."""
    with ExitStack() as stack:
        opened = []
        for _ in range(connections):
            connection = socket.create_connection((LOOPBACK, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            opened.append(stack.enter_context(connection))
        yield Load(opened, delivery_answer)


def delivery_answer(connection: socket.socket) -> bytes:
    """Return the next answer, which has no body; raises `ConnectionError` if it is a rejection."""
    answer = connection.recv(PIECE)
    if not _ANSWER.fullmatch(answer):
        raise ConnectionError(f"the delivery was rejected: {answer[:500]!r}")
    return answer
