"""Callers that ask an issuer for tokens as quickly as it gives them, over kept connections.

One thread with blocking sockets: while it reads one answer, all the other connections have a
request under way. So it costs little, and the issuer never waits for it.
"""

import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200 "
_PIECE = 65536


@dataclass(frozen=True, slots=True)
class Load:
    """One request for each connection."""

    connections: Sequence[socket.socket]
    request: bytes

    def once(self) -> dict[str, Any]:
        """Ask on the first connection; return the answer."""
        self.connections[0].sendall(self.request)
        answer: dict[str, Any] = json.loads(_answer(self.connections[0]))
        return answer

    def take(self, tokens: int) -> float:
        """Take so many tokens; return the seconds from the first request to the last answer."""
        began = time.perf_counter()
        ahead = min(tokens, len(self.connections))
        for connection in self.connections[:ahead]:
            connection.sendall(self.request)
        for number in range(tokens):
            connection = self.connections[number % len(self.connections)]
            _answer(connection)
            if number + ahead < tokens:
                connection.sendall(self.request)
        return time.perf_counter() - began


@contextmanager
def opened(port: int, identity: Path, host: str, form: bytes, connections: int) -> Iterator[Load]:
    """Connect with the `tls.crt` and `tls.key` of a directory, to whom its `ca.crt` knows."""
    context = ssl.create_default_context(cafile=identity / "ca.crt")
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    request = (
        f"POST /token HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\n\r\n"
    ).encode() + form
    with ExitStack() as stack:
        yield Load(
            [
                stack.enter_context(
                    context.wrap_socket(
                        socket.create_connection(("127.0.0.1", port)), server_hostname=host
                    )
                )
                for _ in range(connections)
            ],
            request,
        )


def _answer(connection: socket.socket) -> bytes:
    """Return the body of the next answer; raises `ConnectionError` for one without a token."""
    data = b""
    while _END not in data:
        data += _received(connection)
    head, _, body = data.partition(_END)
    length = _LENGTH.search(head + b"\r\n")
    if not head.startswith(_OK) or length is None:
        raise ConnectionError(f"there was no token: {data[:500]!r}")
    while len(body) < int(length[1]):
        body += _received(connection)
    return body


def _received(connection: socket.socket) -> bytes:
    piece = connection.recv(_PIECE)
    if not piece:
        raise ConnectionError("the issuer has closed the connection")
    return piece
