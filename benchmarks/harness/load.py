"""A load on one server: requests over kept connections, as fast as possible or at a fixed rate.

One thread uses blocking sockets. While it reads one answer, all other connections have a request in
progress. So the load is cheap, and the server never waits for it.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PIECE = 65536


@dataclass(frozen=True, slots=True)
class Load:
    """Connections to one server, and the function that reads an answer from one.

    The function raises `ConnectionError` for an answer that is not a success.
    """

    connections: Sequence[socket.socket]
    read: Callable[[socket.socket], bytes]

    def once(self, request: bytes) -> bytes:
        """Send a request on the first connection; return what `read` returns for its answer."""
        self.connections[0].sendall(request)
        return self.read(self.connections[0])

    def take(self, requests: Sequence[bytes]) -> float:
        """Send all requests; return the seconds from the first request to the last answer."""
        began = time.perf_counter()
        ahead = min(len(requests), len(self.connections))
        for connection, request in zip(self.connections, requests[:ahead], strict=False):
            connection.sendall(request)
        for number in range(len(requests)):
            connection = self.connections[number % len(self.connections)]
            self.read(connection)
            if number + ahead < len(requests):
                connection.sendall(requests[number + ahead])
        return time.perf_counter() - began

    def pace(self, requests: Sequence[bytes], rate: float) -> list[float]:
        """Send `rate` requests per second; return for each the seconds since it was due.

        A late answer delays another request only if no connection is free. That delay counts too.
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
            # A busy loop: the load has a core of its own, and a sleep would add noise.
            now = time.perf_counter()
            if sent < len(requests) and idle and now >= began + sent / rate:
                connection = idle.popleft()
                connection.sendall(requests[sent])
                due[connection.fileno()] = began + sent / rate
                sent += 1
            for number, _ in poll.poll(0):
                self.read(by_number[number])
                times.append(time.perf_counter() - due.pop(number))
                idle.append(by_number[number])
        return times
