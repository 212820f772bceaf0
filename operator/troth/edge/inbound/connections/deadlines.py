"""Deadlines for servers that read each connection in a thread, which cannot watch it itself."""

import socket
import threading
import time
from contextlib import suppress

from troth.edge.inbound.connections import timed

_CHECK_INTERVAL = 0.5


class Deadlines:
    """Shuts down connections whose handshake or head does not arrive in time.

    One thread watches all connections of a process. It starts with the first of them, so a process
    may fork before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[socket.socket, float] = {}
        self._thread: threading.Thread | None = None

    def begin(self, connection: socket.socket) -> socket.socket:
        """Watch a connection from now on; return the handle for `end`.

        The handle is a duplicate, because TLS replaces the socket of a connection.
        """
        handle = socket.fromfd(connection.fileno(), connection.family, connection.type)
        with self._lock:
            self._due[handle] = time.monotonic() + timed.REQUEST_WITHIN
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        return handle

    def end(self, handle: socket.socket) -> None:
        """Stop watching a connection; it may have ended, and been reported already."""
        with self._lock:
            self._due.pop(handle, None)
            handle.close()

    def _watch(self) -> None:
        while True:
            time.sleep(min(_CHECK_INTERVAL, timed.REQUEST_WITHIN / 4))
            with self._lock:
                now = time.monotonic()
                for handle in [each for each, due in self._due.items() if now >= due]:
                    del self._due[handle]
                    with suppress(OSError):  # the client has closed it
                        handle.shutdown(socket.SHUT_RDWR)
